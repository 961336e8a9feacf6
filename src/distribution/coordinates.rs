//! Places on Earth: [`Coordinates`].

use std::fmt;
use std::str::FromStr;

use crate::error::ConfigError;

/// Of a sphere of the same volume.
const EARTH_RADIUS: f64 = 6371.0;

/// A place on Earth, in degrees: north and east are positive.
///
/// ```
/// use tower_edge::distribution::Coordinates;
///
/// let frankfurt = Coordinates::new(50.11, 8.68)?;
/// let new_york: Coordinates = "40.71, -74.01".parse()?;
/// assert_eq!(frankfurt.distance(new_york).round(), 6203.0);
/// # Ok::<(), tower_edge::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Coordinates {
    latitude: f64,
    longitude: f64,
}

impl Coordinates {
    /// The place at a latitude from -90 to 90 and a longitude from -180 to 180.
    ///
    /// # Errors
    /// If there is no such place.
    pub fn new(latitude: f64, longitude: f64) -> Result<Self, ConfigError> {
        // What is not a number is in no range.
        for (name, value, limit) in [("latitude", latitude, 90.0), ("longitude", longitude, 180.0)] {
            if !(-limit..=limit).contains(&value) {
                return Err(ConfigError::new(name, format!("{value} is not from -{limit} to {limit}")));
            }
        }
        Ok(Self { latitude, longitude })
    }

    /// Degrees north of the equator.
    pub fn latitude(self) -> f64 {
        self.latitude
    }

    /// Degrees east of Greenwich.
    pub fn longitude(self) -> f64 {
        self.longitude
    }

    /// The great-circle distance to another place, in kilometres, on a sphere.
    pub fn distance(self, other: Self) -> f64 {
        let [from, to] = [self.latitude.to_radians(), other.latitude.to_radians()];
        let north = ((to - from) / 2.0).sin();
        let east = ((other.longitude - self.longitude).to_radians() / 2.0).sin();
        let haversine = north * north + from.cos() * to.cos() * east * east;
        // Rounding may bring it over 1 for places that are opposite.
        2.0 * EARTH_RADIUS * haversine.sqrt().min(1.0).asin()
    }

    /// The place on a sphere of radius 1 about the Earth's centre.
    pub(super) fn unit_vector(self) -> [f64; 3] {
        let latitude = self.latitude.to_radians();
        let (east, along) = self.longitude.to_radians().sin_cos();
        // A pole has every longitude.
        let across = if self.latitude.abs() == 90.0 { 0.0 } else { latitude.cos() };
        [across * along, across * east, latitude.sin()]
    }
}

/// As in `50.11,8.68`: latitude, comma, longitude.
impl FromStr for Coordinates {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let wrong = || ConfigError::new("coordinates", format!("{text:?} is not as in 50.11,8.68"));
        let (latitude, longitude) = text.split_once(',').ok_or_else(wrong)?;
        let degrees = |text: &str| text.trim().parse().map_err(|_| wrong());
        Self::new(degrees(latitude)?, degrees(longitude)?)
    }
}

impl fmt::Display for Coordinates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{}", self.latitude, self.longitude)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_place_is_refused_by_name() {
        for (latitude, longitude, setting) in [
            (90.1, 0.0, "latitude"),
            (-91.0, 0.0, "latitude"),
            (f64::NAN, 0.0, "latitude"),
            (0.0, 180.5, "longitude"),
            (0.0, f64::INFINITY, "longitude"),
            (0.0, f64::NAN, "longitude"),
        ] {
            assert_eq!(Coordinates::new(latitude, longitude).unwrap_err().setting(), setting);
        }
        for text in ["", "1", "1;2", "a,2", "1,2,3", ",", "1,"] {
            assert_eq!(text.parse::<Coordinates>().unwrap_err().setting(), "coordinates", "{text}");
        }
        assert_eq!("-90, 180".parse(), Coordinates::new(-90.0, 180.0));
    }

    #[test]
    fn distances_are_those_of_the_map() {
        let at = |latitude, longitude| Coordinates::new(latitude, longitude).unwrap();
        let quarter = EARTH_RADIUS * std::f64::consts::FRAC_PI_2;
        for (one, other, kilometres) in [
            (at(0.0, 0.0), at(0.0, 90.0), quarter),
            (at(90.0, 17.0), at(0.0, -120.0), quarter),
            (at(0.0, 0.0), at(0.0, 180.0), 2.0 * quarter),
            (at(90.0, 0.0), at(-90.0, 50.0), 2.0 * quarter),
            (at(0.0, 179.5), at(0.0, -179.5), quarter / 90.0),
            (at(90.0, 0.0), at(90.0, 123.0), 0.0),
            (at(50.11, 8.68), at(50.11, 8.68), 0.0),
        ] {
            let distance = one.distance(other);
            assert!((distance - kilometres).abs() < 1e-6, "{one} {other}: {distance}");
            assert!((other.distance(one) - distance).abs() < 1e-9);
        }
    }
}
