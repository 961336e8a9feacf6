//! A MaxMind database: [`MaxMind`].

use std::error::Error;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use http::HeaderMap;
use maxminddb::{PathElement, Reader};

use super::Locate;
use crate::distribution::Coordinates;
use crate::sync::RwLock;

/// Where addresses are, by a database file in MaxMind's format that has coordinates, such as GeoLite2 City. It is held in
/// memory as a whole. Clones share it.
#[derive(Clone)]
pub struct MaxMind(Arc<Inner>);

struct Inner {
    file: PathBuf,
    reader: RwLock<Arc<Reader<Vec<u8>>>>,
}

impl MaxMind {
    /// Reads a database.
    ///
    /// # Errors
    /// If the file cannot be read, or is no such database.
    pub fn open(file: impl Into<PathBuf>) -> Result<Self, DatabaseError> {
        let file = file.into();
        let reader = RwLock::new(read(&file)?);
        Ok(Self(Arc::new(Inner { file, reader })))
    }

    /// Reads the file again. Who looks something up meanwhile has it from the old one.
    ///
    /// # Errors
    /// If that fails; then the old one stays.
    pub fn reload(&self) -> Result<(), DatabaseError> {
        let reader = read(&self.0.file)?;
        // The old one is dropped when the lock is gone.
        let _old = std::mem::replace(&mut *self.0.reader.write(), reader);
        Ok(())
    }

    /// Where an address is.
    pub fn find(&self, address: IpAddr) -> Option<Coordinates> {
        let reader = Arc::clone(&self.0.reader.read());
        // What is broken in the file says nothing.
        let found = reader.lookup(address).ok()?;
        let degrees =
            |name| found.decode_path::<f64>(&[PathElement::Key("location"), PathElement::Key(name)]).ok()?;
        Coordinates::new(degrees("latitude")?, degrees("longitude")?).ok()
    }
}

fn read(file: &Path) -> Result<Arc<Reader<Vec<u8>>>, DatabaseError> {
    let wrong = |cause| DatabaseError { file: file.to_owned(), cause: Box::new(cause) };
    Reader::open_readfile(file).map(Arc::new).map_err(wrong)
}

impl Locate for MaxMind {
    fn locate(&self, address: Option<IpAddr>, _: &HeaderMap) -> Option<Coordinates> {
        self.find(address?)
    }
}

impl fmt::Debug for MaxMind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MaxMind").field("file", &self.0.file).finish_non_exhaustive()
    }
}

/// Why a database cannot be used.
#[derive(Debug)]
pub struct DatabaseError {
    file: PathBuf,
    cause: Box<dyn Error + Send + Sync>,
}

impl fmt::Display for DatabaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file.display(), self.cause)
    }
}

impl Error for DatabaseError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.cause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distribution::viewer::tiny::database;

    /// A file that is gone with the test.
    struct File(PathBuf);

    impl File {
        fn new(name: &str, bytes: &[u8]) -> Self {
            let path = std::env::temp_dir().join(format!("tower-edge-{}-{name}.mmdb", std::process::id()));
            std::fs::write(&path, bytes).unwrap();
            Self(path)
        }
    }

    impl Drop for File {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    #[test]
    fn a_place_is_found_and_found_anew_when_the_file_is_read_again() {
        let file = File::new("reload", &database(50.0, 8.0));
        let source = MaxMind::open(&file.0).unwrap();
        let here = Some("10.0.0.1".parse().unwrap());
        assert_eq!(source.locate(here, &HeaderMap::new()), Coordinates::new(50.0, 8.0).ok());
        for address in ["192.0.2.1", "2001:db8::1"] {
            assert_eq!(source.find(address.parse().unwrap()), None, "{address}");
        }
        std::fs::write(&file.0, database(-33.0, 151.0)).unwrap();
        assert_eq!(source.locate(here, &HeaderMap::new()), Coordinates::new(50.0, 8.0).ok());
        source.reload().unwrap();
        assert_eq!(source.locate(here, &HeaderMap::new()), Coordinates::new(-33.0, 151.0).ok());
        std::fs::write(&file.0, "no database").unwrap();
        let error = source.reload().unwrap_err();
        assert!(error.to_string().starts_with(&file.0.display().to_string()), "{error}");
        assert_eq!(
            source.locate(here, &HeaderMap::new()),
            Coordinates::new(-33.0, 151.0).ok(),
            "the old one stays"
        );
    }

    #[test]
    fn coordinates_that_are_nowhere_are_not_taken() {
        let file = File::new("nowhere", &database(91.0, f64::NAN));
        let source = MaxMind::open(&file.0).unwrap();
        assert_eq!(source.find("10.0.0.1".parse().unwrap()), None);
        assert!(MaxMind::open("/there/is/no/such/file").is_err());
    }
}
