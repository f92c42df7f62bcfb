"""What the tests of faults share with those of the gates."""

import sys
from pathlib import Path

# The house in a temporary folder and the toy experiment.
sys.path.insert(0, str(Path(__file__).parents[1] / "gates"))
