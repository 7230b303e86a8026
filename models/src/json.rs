//! JSON objects read strictly: no key twice, every complaint with its file and key.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::Error;
use crate::error::{quoted, shown};
use crate::file;

/// A JSON object of a file. A key whose value is null counts as absent unless said otherwise.
pub(crate) struct Object {
    path: PathBuf,
    /// What stands before a key's name in messages: empty, or the parent's key and a dot.
    prefix: String,
    map: Map<String, Value>,
}

impl Object {
    /// Reads a file that holds one JSON object; `expected` says what it is for.
    pub(crate) fn read(path: &Path, expected: &str) -> Result<Object, Error> {
        Object::parse(path, "text", &file::read(path, expected)?)
    }

    /// Parses one JSON object; `part` names the part of the file that it is.
    pub(crate) fn parse(path: &Path, part: &str, bytes: &[u8]) -> Result<Object, Error> {
        let refused = |found: String| Error::file(path, found, "a JSON object");
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let at = error.valid_up_to();
            refused(format!(
                "{part} with a byte that is not UTF-8 at offset {at}"
            ))
        })?;
        match serde_json::from_str(text) {
            Ok(Strict(Value::Object(map))) => Ok(Object {
                path: path.to_path_buf(),
                prefix: String::new(),
                map,
            }),
            Ok(Strict(other)) => Err(refused(format!("{part} that is {}", shown(&other)))),
            Err(error) if error.is_data() => {
                let expected = "a JSON object with each key once";
                Err(Error::file(path, format!("{part} with {error}"), expected))
            }
            Err(error) => Err(refused(format!("{part} that is not JSON ({error})"))),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Keys and values in the file's order, nulls included.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.map.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// The value of a key that is there and not null.
    pub(crate) fn get(&self, key: &str) -> Option<&Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    /// Whether the key is there with the value null.
    pub(crate) fn is_null(&self, key: &str) -> bool {
        self.map.get(key).is_some_and(Value::is_null)
    }

    /// The complaint that a key's value is not `expected`.
    pub(crate) fn refuse(&self, key: &str, expected: impl fmt::Display) -> Error {
        let found = self.map.get(key).map_or("nothing".to_string(), shown);
        let key = format!("{}{key}", self.prefix);
        Error::key(&self.path, &key, found, expected)
    }

    /// An object inside this one.
    pub(crate) fn object(&self, key: &str) -> Result<Option<Object>, Error> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(Object {
                path: self.path.clone(),
                prefix: format!("{}{key}.", self.prefix),
                map: map.clone(),
            })),
            Some(_) => Err(self.refuse(key, "an object")),
        }
    }

    /// A string.
    pub(crate) fn string(&self, key: &str) -> Result<Option<&str>, Error> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.refuse(key, "a string")),
        }
    }

    /// An integer from 1 to `max`.
    pub(crate) fn size(&self, key: &str, max: usize) -> Result<Option<usize>, Error> {
        let refused = || self.refuse(key, format!("an integer from 1 to {max}"));
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        let size = value.as_u64().and_then(|n| usize::try_from(n).ok());
        size.filter(|n| (1..=max).contains(n))
            .map(Some)
            .ok_or_else(refused)
    }

    /// A number above zero that f32 holds without becoming zero or infinite.
    pub(crate) fn positive(&self, key: &str) -> Result<Option<f64>, Error> {
        let refused = || self.refuse(key, "a number above 0 and within f32's range");
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        let usable = |x: &f64| (*x as f32) > 0.0 && (*x as f32).is_finite();
        value.as_f64().filter(usable).map(Some).ok_or_else(refused)
    }

    /// A token id below `vocab`, which the default must be too.
    pub(crate) fn id(&self, key: &str, vocab: usize, default: u32) -> Result<u32, Error> {
        let default = Value::from(default);
        let id = token_id(self.get(key).unwrap_or(&default), vocab);
        id.ok_or_else(|| self.refuse(key, format!("a token id from 0 to {}", vocab - 1)))
    }

    /// A token id below `vocab`, or a list of at least one.
    pub(crate) fn ids(&self, key: &str, vocab: usize, default: &[u32]) -> Result<Vec<u32>, Error> {
        let default = Value::from(default);
        let ids: Option<Vec<u32>> = match self.get(key).unwrap_or(&default) {
            Value::Array(list) => list.iter().map(|value| token_id(value, vocab)).collect(),
            single => token_id(single, vocab).map(|id| vec![id]),
        };
        ids.filter(|ids| !ids.is_empty()).ok_or_else(|| {
            let expected = format!("one token id or more, from 0 to {}", vocab - 1);
            self.refuse(key, expected)
        })
    }
}

fn token_id(value: &Value, vocab: usize) -> Option<u32> {
    let id = u32::try_from(value.as_u64()?).ok()?;
    (usize::try_from(id).ok()? < vocab).then_some(id)
}

/// A JSON value none of whose objects has a key twice.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Strict, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Strict)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Strict(value)) = list.next_element()? {
            values.push(value);
        }
        Ok(values.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some((key, Strict(value))) = object.next_entry::<String, Strict>()? {
            if map.contains_key(&key) {
                return Err(A::Error::custom(format!("key {} twice", quoted(&key))));
            }
            map.insert(key, value);
        }
        Ok(map.into())
    }
}
