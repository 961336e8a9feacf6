//! Which of many places is nearest to a viewer: [`Nearest`].

use super::coordinates::Coordinates;

/// Places, in the form in which the nearest to a viewer is found at once. It never changes: where one opens or closes,
/// another table takes its place.
///
/// The nearest on the great circle is the nearest in a straight line through the Earth, so three subtractions and three
/// products a place say it, without trigonometry. Of places that are equally near, within some metres, the first wins.
///
/// ```
/// use tower_edge::distribution::{Coordinates, Nearest};
///
/// let nearest: Nearest<_> = [
///     (Coordinates::new(50.11, 8.68)?, "fra-1"),
///     (Coordinates::new(40.71, -74.01)?, "nyc-1"),
/// ]
/// .into_iter()
/// .collect();
/// let lisbon = Coordinates::new(38.72, -9.14)?;
/// assert_eq!(nearest.find(lisbon), Some(&"fra-1"));
/// # Ok::<(), tower_edge::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Nearest<T> {
    /// Coordinates on a sphere of radius 1, axis by axis, in whole blocks: a place that is missing in the last is
    /// far outside.
    blocks: Box<[Block]>,
    places: Box<[T]>,
}

/// As many as fit two registers of most machines.
const LANES: usize = 8;

type Block = [[f64; LANES]; 3];

/// Nobody lives there, and its square is still a number.
const NOWHERE: f64 = 1e6;

/// Squares of straight lines that differ by less are equal: on a sphere of radius 1, some metres from the viewer.
const TIE: f64 = 1e-12;

impl<T> Nearest<T> {
    /// The place nearest to a viewer. `None` if there are no places.
    pub fn find(&self, viewer: Coordinates) -> Option<&T> {
        let viewer = viewer.unit_vector();
        let mut least = [f64::INFINITY; LANES];
        for block in &self.blocks {
            for (least, square) in least.iter_mut().zip(squares(block, viewer)) {
                // Unlike `f64::min` this is one instruction.
                *least = if square < *least { square } else { *least };
            }
        }
        let limit = least.into_iter().fold(f64::INFINITY, f64::min) + TIE;
        let mut blocks = self.blocks.iter().enumerate();
        let index = blocks.find_map(|(at, block)| {
            let lane = squares(block, viewer).iter().position(|square| *square <= limit)?;
            Some(at * LANES + lane)
        })?;
        self.places.get(index)
    }

    /// The places, in their order.
    pub fn places(&self) -> &[T] {
        &self.places
    }
}

/// How far each place of a block is, squared. Inlined, so that a block stays in registers.
#[inline(always)]
fn squares([xs, ys, zs]: &Block, [x, y, z]: [f64; 3]) -> [f64; LANES] {
    let mut squares = [0.0; LANES];
    for (lane, square) in squares.iter_mut().enumerate() {
        let (x, y, z) = (xs[lane] - x, ys[lane] - y, zs[lane] - z);
        *square = x * x + y * y + z * z;
    }
    squares
}

impl<T> Default for Nearest<T> {
    fn default() -> Self {
        Self::from_iter([])
    }
}

impl<T> FromIterator<(Coordinates, T)> for Nearest<T> {
    fn from_iter<I: IntoIterator<Item = (Coordinates, T)>>(places: I) -> Self {
        let (at, places): (Vec<_>, Vec<_>) = places.into_iter().unzip();
        let block = |chunk: &[Coordinates]| {
            let mut block = [[NOWHERE; LANES]; 3];
            for (lane, place) in chunk.iter().enumerate() {
                for (axis, value) in block.iter_mut().zip(place.unit_vector()) {
                    axis[lane] = value;
                }
            }
            block
        };
        Self { blocks: at.chunks(LANES).map(block).collect(), places: places.into() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::{Config, TestRunner};

    use super::*;

    fn at(latitude: f64, longitude: f64) -> Coordinates {
        Coordinates::new(latitude, longitude).unwrap()
    }

    /// Another formula (Vincenty's, for a sphere), which is exact at every distance.
    fn angle(one: Coordinates, other: Coordinates) -> f64 {
        let [a, b] = [one, other].map(|place| place.latitude().to_radians());
        let (east, along) = (other.longitude() - one.longitude()).to_radians().sin_cos();
        let across = b.cos() * east;
        let up = a.cos() * b.sin() - a.sin() * b.cos() * along;
        across.hypot(up).atan2(a.sin() * b.sin() + a.cos() * b.cos() * along)
    }

    /// Anywhere, and more often than by chance where formulas break.
    fn places() -> impl Strategy<Value = Coordinates> {
        let latitude = prop_oneof![6 => -90.0..=90.0, 1 => Just(90.0), 1 => Just(-90.0), 1 => Just(0.0), 1 => 89.99..=90.0];
        let longitude = prop_oneof![6 => -180.0..=180.0, 1 => Just(180.0), 1 => Just(-180.0), 1 => Just(0.0), 1 => 179.99..=180.0];
        (latitude, longitude).prop_map(|(latitude, longitude)| at(latitude, longitude))
    }

    #[test]
    fn the_nearest_is_the_one_that_brute_force_finds() {
        // 10 metres, over the Earth's radius.
        const TOLERANCE: f64 = 0.01 / 6371.0;
        let cases = |cases| TestRunner::new(Config { cases, ..Config::default() });
        let tables = prop::collection::vec(places(), 1..30);
        // 1,000 tables of 100 viewers each.
        cases(1_000)
            .run(&(tables, prop::collection::vec(places(), 100)), |(edges, viewers)| {
                let nearest: Nearest<usize> = edges.iter().copied().zip(0..).collect();
                for viewer in viewers {
                    let found = *nearest.find(viewer).unwrap();
                    let angles: Vec<_> = edges.iter().map(|edge| angle(viewer, *edge)).collect();
                    let least = angles.iter().copied().fold(f64::INFINITY, f64::min);
                    prop_assert!(angles[found] <= least + TOLERANCE, "{viewer}: {found} of {edges:?}");
                    // Nothing before it is as near.
                    let earlier = edges[..found].iter().position(|edge| *edge == edges[found]);
                    prop_assert_eq!(earlier, None);
                }
                Ok(())
            })
            .unwrap();
    }

    #[test]
    fn of_places_equally_near_the_first_wins() {
        // The two names of the antimeridian, and the many of a pole, are one place.
        for (one, other, viewer) in [
            (at(10.0, 180.0), at(10.0, -180.0), at(-3.0, -170.0)),
            (at(90.0, 0.0), at(90.0, 111.0), at(12.0, -111.0)),
            (at(-90.0, 5.0), at(-90.0, -170.0), at(-90.0, 60.0)),
            (at(0.0, 10.0), at(0.0, -10.0), at(40.0, 0.0)),
            (at(20.0, 0.0), at(-20.0, 0.0), at(0.0, 123.4)),
        ] {
            for places in [[(one, 1), (other, 2)], [(other, 1), (one, 2)]] {
                let nearest: Nearest<u32> = places.into_iter().collect();
                assert_eq!(nearest.find(viewer), Some(&1), "{places:?}");
            }
        }
    }

    #[test]
    fn without_places_there_is_none() {
        assert_eq!(Nearest::<()>::from_iter([]).find(at(0.0, 0.0)), None);
        let one: Nearest<_> = [(at(0.0, 0.0), "far")].into_iter().collect();
        assert_eq!(one.find(at(0.0, 180.0)), Some(&"far"));
    }
}
