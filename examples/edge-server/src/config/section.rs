//! A table of the file, read key by key: [`Section`].

use std::cell::{Cell, RefCell};
use std::fmt::Display;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use tower_edge::distribution::Coordinates;

use super::distribution::coordinates;
use super::nearest::nearest;
use super::report::{Notes, Place};

/// A table that may be there. Each reading takes a key, notes what is wrong with its value, and gives what is right.
/// When it is dropped, the keys nobody took are noted as unknown.
///
/// A table that is not there is read all the same, so that one reading knows every key there could be.
pub(super) struct Section<'a> {
    table: Option<&'a DeTable<'a>>,
    pub(super) place: Place,
    path: String,
    taken: RefCell<Vec<&'static str>>,
    any_keys: Cell<bool>,
    notes: &'a Notes<'a>,
}

/// A value, and where it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) place: Place,
}

impl<'a> Section<'a> {
    pub(super) fn root(table: &'a Spanned<DeTable<'a>>, notes: &'a Notes<'a>) -> Self {
        Self::new(Some(table.get_ref()), Place { line: 1, column: 1 }, String::new(), notes)
    }

    fn new(table: Option<&'a DeTable<'a>>, place: Place, path: String, notes: &'a Notes<'a>) -> Self {
        Self { table, place, path, taken: RefCell::default(), any_keys: Cell::default(), notes }
    }

    pub(super) fn is_there(&self) -> bool {
        self.table.is_some()
    }

    pub(super) fn problem(&self, place: Place, reason: impl Into<String>) {
        self.notes.problem(place, reason);
    }

    /// Its keys are names of the operator's choice.
    pub(super) fn with_any_keys(self) -> Self {
        self.any_keys.set(true);
        self
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn take(&self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.taken.borrow_mut().push(key);
        let path = self.path_of(key);
        let value = self.table.and_then(|table| table.get(key));
        if value.is_some() {
            self.notes.found.borrow_mut().insert(path.clone());
        }
        self.notes.asked.borrow_mut().insert(path);
        value
    }

    fn wrong_type(&self, key: &str, value: &Spanned<DeValue<'_>>, wanted: &str) {
        let found = value.get_ref().type_str();
        self.problem(self.notes.place(&value.span()), format!("{key}: expected {wanted}, found {found}"));
    }

    /// A string in some form.
    pub(super) fn text<T, E: Display>(
        &self,
        key: &'static str,
        form: impl Fn(&str) -> Result<T, E>,
    ) -> Option<At<T>> {
        let value = self.take(key)?;
        self.formed(key, value, &form)
    }

    fn formed<T, E: Display>(
        &self,
        key: &str,
        value: &Spanned<DeValue<'_>>,
        form: &impl Fn(&str) -> Result<T, E>,
    ) -> Option<At<T>> {
        let Some(text) = value.get_ref().as_str() else {
            self.wrong_type(key, value, "a string");
            return None;
        };
        let place = self.notes.place(&value.span());
        match form(text) {
            Ok(value) => Some(At { value, place }),
            Err(reason) => {
                self.problem(place, format!("{key}: {text:?}: {reason}"));
                None
            }
        }
    }

    /// The same, where there has to be one.
    pub(super) fn needed<T, E: Display>(
        &self,
        key: &'static str,
        form: impl Fn(&str) -> Result<T, E>,
    ) -> Option<At<T>> {
        if self.is_there() && !self.table.is_some_and(|table| table.contains_key(key)) {
            self.problem(self.place, format!("{key} is missing"));
        }
        self.text(key, form)
    }

    /// One of several words.
    pub(super) fn word<T: Clone>(&self, key: &'static str, words: &[(&str, T)]) -> Option<T> {
        Some(self.text(key, |text| one_of(text, words))?.value)
    }

    pub(super) fn flag(&self, key: &'static str) -> Option<bool> {
        let value = self.take(key)?;
        let flag = value.get_ref().as_bool();
        if flag.is_none() {
            self.wrong_type(key, value, "true or false");
        }
        flag
    }

    /// A whole number from `least` to `most`.
    pub(super) fn number(&self, key: &'static str, least: u64, most: u64) -> Option<u64> {
        let value = self.take(key)?;
        self.ranged(key, value, least, most)
    }

    fn ranged(&self, key: &str, value: &Spanned<DeValue<'_>>, least: u64, most: u64) -> Option<u64> {
        let Some(number) = value.get_ref().as_integer() else {
            self.wrong_type(key, value, "a whole number");
            return None;
        };
        let parsed = u64::from_str_radix(number.as_str(), number.radix());
        let ranged = parsed.ok().filter(|number| (least..=most).contains(number));
        if ranged.is_none() {
            let reason = match most {
                u64::MAX => format!("{key}: not {least} or more"),
                _ => format!("{key}: not from {least} to {most}"),
            };
            self.problem(self.notes.place(&value.span()), reason);
        }
        ranged
    }

    /// A list of strings in some form.
    pub(super) fn list<T, E: Display>(
        &self,
        key: &'static str,
        form: impl Fn(&str) -> Result<T, E>,
    ) -> Option<Vec<At<T>>> {
        let items = self.items(key, "a list of strings")?;
        Some(items.iter().filter_map(|item| self.formed(key, item, &form)).collect())
    }

    /// A list of whole numbers.
    pub(super) fn numbers(&self, key: &'static str, least: u64, most: u64) -> Option<Vec<u64>> {
        let items = self.items(key, "a list of whole numbers")?;
        Some(items.iter().filter_map(|item| self.ranged(key, item, least, most)).collect())
    }

    /// A place on Earth, as latitude and longitude.
    pub(super) fn coordinates(&self, key: &'static str) -> Option<Coordinates> {
        let place = self.table.and_then(|table| table.get(key)).map(|value| self.notes.place(&value.span()));
        let items = self.items(key, "latitude and longitude")?;
        let degrees = |item: &Spanned<DeValue<'_>>| {
            let float = item.get_ref().as_float().and_then(|float| float.as_str().parse().ok());
            let integer = || item.get_ref().as_integer()?.as_str().parse().ok();
            float.or_else(integer).unwrap_or(f64::NAN)
        };
        let found = coordinates(&items.iter().map(degrees).collect::<Vec<_>>());
        found.map_err(|reason| self.problem(place.unwrap_or(self.place), format!("{key}: {reason}"))).ok()
    }

    /// The same, where there has to be one.
    pub(super) fn needed_coordinates(&self, key: &'static str) -> Option<Coordinates> {
        if self.is_there() && !self.table.is_some_and(|table| table.contains_key(key)) {
            self.problem(self.place, format!("{key} is missing"));
        }
        self.coordinates(key)
    }

    fn items(&self, key: &'static str, wanted: &str) -> Option<&'a [Spanned<DeValue<'a>>]> {
        let value = self.take(key)?;
        let items = value.get_ref().as_array();
        if items.is_none() {
            self.wrong_type(key, value, wanted);
        }
        items.map(|items| &items[..])
    }

    /// What stands under a key as a string, if it is one; otherwise the table there.
    pub(super) fn is_text(&self, key: &str) -> bool {
        self.table.and_then(|table| table.get(key)).is_some_and(|value| value.get_ref().is_str())
    }

    /// A table in this one.
    pub(super) fn section(&self, key: &'static str) -> Section<'a> {
        let value = self.take(key);
        self.inner(key, value, self.path_of(key))
    }

    fn inner(&self, key: &str, value: Option<&'a Spanned<DeValue<'a>>>, path: String) -> Section<'a> {
        let Some(value) = value else {
            return Section::new(None, self.place, path, self.notes);
        };
        let table = value.get_ref().as_table();
        if table.is_none() {
            self.wrong_type(key, value, "a table");
        }
        Section::new(table, self.notes.place(&value.span()), path, self.notes)
    }

    /// The tables of a list; one that is not there if there is none.
    pub(super) fn sections(&self, key: &'static str) -> Vec<Section<'a>> {
        let items = self.items(key, "a list of tables").unwrap_or_default();
        let path = self.path_of(key);
        if items.is_empty() {
            return vec![self.inner(key, None, path)];
        }
        items.iter().map(|item| self.inner(key, Some(item), path.clone())).collect()
    }

    /// The tables in a table, by the names the operator gave them; one that is not there, without a name, if there is none.
    pub(super) fn named(&self, key: &'static str) -> Vec<(At<String>, Section<'a>)> {
        let outer = self.section(key).with_any_keys();
        let path = format!("{}.NAME", outer.path);
        let nameless = || At { value: String::new(), place: self.place };
        let Some(table) = outer.table.filter(|table| !table.is_empty()) else {
            return vec![(nameless(), self.inner(key, None, path))];
        };
        let sections = table.iter().map(|(name, value)| {
            let at = At { value: name.get_ref().to_string(), place: self.notes.place(&name.span()) };
            let mut section = self.inner(name.get_ref(), Some(value), path.clone());
            section.place = at.place;
            (at, section)
        });
        sections.collect()
    }

    /// The pairs of a table whose keys are statuses and whose values have some form.
    pub(super) fn by_status<T, E: Display>(
        &self,
        key: &'static str,
        form: impl Fn(&str) -> Result<T, E>,
    ) -> Vec<(hyper::StatusCode, T)> {
        let outer = self.section(key).with_any_keys();
        let Some(table) = outer.table else { return Vec::new() };
        let pair = |(name, value): (&Spanned<_>, &'a Spanned<DeValue<'a>>)| {
            let name_text: &str = AsRef::<std::borrow::Cow<'_, str>>::as_ref(name);
            let value = self.formed(name_text, value, &form);
            match name_text.parse() {
                Ok(status) => Some((status, value?.value)),
                Err(_) => {
                    let reason = format!("{key}: {name_text:?} is not a status, such as 404");
                    self.problem(self.notes.place(&name.span()), reason);
                    None
                }
            }
        };
        table.iter().filter_map(pair).collect()
    }
}

/// One of several words, or what it may have been meant to be.
pub(super) fn one_of<T: Clone>(text: &str, words: &[(&str, T)]) -> Result<T, String> {
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
        return Ok(value.clone());
    }
    let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    Err(match nearest(text, known.iter().copied()) {
        Some(word) => format!("did you mean {word:?}?"),
        None => format!("not one of {}", known.join(", ")),
    })
}

impl Drop for Section<'_> {
    fn drop(&mut self) {
        let Some(table) = self.table else { return };
        if self.any_keys.get() {
            return;
        }
        let taken = self.taken.borrow();
        for (key, _) in table {
            let name: &str = key.get_ref();
            if !taken.contains(&name) {
                let missing = taken.iter().copied().filter(|taken| !table.contains_key(*taken));
                let hint = match nearest(name, missing) {
                    Some(known) => format!("; did you mean {known:?}?"),
                    None => String::new(),
                };
                self.notes.problem(self.notes.place(&key.span()), format!("unknown key {name:?}{hint}"));
            }
        }
    }
}
