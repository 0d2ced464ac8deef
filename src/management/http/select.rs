//! Picking fields while an object is written: for `columns`, and for the field that a list is sorted by.
//!
//! No tree of values is built: the object writes itself, and what is not wanted is passed over.

use std::fmt::Display;

use serde::ser::{
    Error as _, Impossible, Serialize, SerializeMap, SerializeSeq, SerializeStruct, Serializer,
};
use serde_json::Error;

/// The fields that are wanted, by name; nested ones as `outer.inner`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Fields(Vec<(String, Self)>);

impl Fields {
    /// Fields by their paths.
    pub(super) fn new<'a>(paths: impl IntoIterator<Item = &'a str>) -> Self {
        let mut fields = Self::default();
        for path in paths.into_iter().filter(|path| !path.is_empty()) {
            let mut at = &mut fields;
            for name in path.split('.') {
                at = at.child(name);
            }
        }
        fields
    }

    fn child(&mut self, name: &str) -> &mut Self {
        let place = self.0.iter().position(|(known, _)| known == name).unwrap_or_else(|| {
            self.0.push((name.to_owned(), Self::default()));
            self.0.len() - 1
        });
        &mut self.0[place].1
    }

    fn find(&self, name: &str) -> Option<&Self> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, inner)| inner)
    }

    fn is_leaf(&self) -> bool {
        self.0.is_empty()
    }
}

/// Writes the fields of `value` that are wanted as a JSON object.
pub(super) fn write(value: &impl Serialize, fields: &Fields, out: &mut Vec<u8>) -> Result<(), Error> {
    value.serialize(Selecting { fields, out })
}

/// The JSON text of one field, by its path; `None` when it is not there.
pub(super) fn pick(value: &impl Serialize, path: &str) -> Option<Vec<u8>> {
    let fields = Fields::new([path]);
    let mut out = Vec::new();
    write(value, &fields, &mut out).ok()?;
    // Each level of the path is an object with the one field, or with none.
    let mut text = out.as_slice();
    for name in path.split('.') {
        let quoted = serde_json::to_vec(name).ok()?;
        text = text
            .strip_prefix(b"{")?
            .strip_prefix(quoted.as_slice())?
            .strip_prefix(b":")?
            .strip_suffix(b"}")?;
    }
    Some(text.to_vec())
}

struct Selecting<'a> {
    fields: &'a Fields,
    out: &'a mut Vec<u8>,
}

/// An object whose wanted fields are written as they come.
struct Object<'a> {
    fields: &'a Fields,
    out: &'a mut Vec<u8>,
    is_first: bool,
    key: Option<String>,
}

impl<'a> Selecting<'a> {
    fn object(self) -> Object<'a> {
        self.out.push(b'{');
        Object { fields: self.fields, out: self.out, is_first: true, key: None }
    }

    /// What is no object is written whole: it has no fields to choose from.
    fn whole(self, value: &(impl Serialize + ?Sized)) -> Result<(), Error> {
        serde_json::to_writer(self.out, value)
    }
}

impl Object<'_> {
    fn field<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Result<(), Error> {
        let Some(inner) = self.fields.find(name) else { return Ok(()) };
        if !self.is_first {
            self.out.push(b',');
        }
        self.is_first = false;
        serde_json::to_writer(&mut *self.out, name)?;
        self.out.push(b':');
        if inner.is_leaf() {
            return serde_json::to_writer(&mut *self.out, value);
        }
        value.serialize(Selecting { fields: inner, out: self.out })
    }

    fn close(self) {
        self.out.push(b'}');
    }
}

impl SerializeStruct for Object<'_> {
    type Ok = ();
    type Error = Error;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), Error> {
        self.field(key, value)
    }

    fn end(self) -> Result<(), Error> {
        self.close();
        Ok(())
    }
}

impl SerializeMap for Object<'_> {
    type Ok = ();
    type Error = Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Error> {
        let text = serde_json::to_value(key)?;
        self.key = text.as_str().map(str::to_owned);
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        match self.key.take() {
            Some(key) => self.field(&key, value),
            None => Err(Error::custom("a key that is no text")),
        }
    }

    fn end(self) -> Result<(), Error> {
        self.close();
        Ok(())
    }
}

/// An array: the fields are those of its elements.
struct Array<'a> {
    fields: &'a Fields,
    out: &'a mut Vec<u8>,
    is_first: bool,
}

impl SerializeSeq for Array<'_> {
    type Ok = ();
    type Error = Error;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        if !self.is_first {
            self.out.push(b',');
        }
        self.is_first = false;
        value.serialize(Selecting { fields: self.fields, out: self.out })
    }

    fn end(self) -> Result<(), Error> {
        self.out.push(b']');
        Ok(())
    }
}

macro_rules! whole {
    ($($method:ident($kind:ty),)*) => {
        $(fn $method(self, value: $kind) -> Result<(), Error> {
            self.whole(&value)
        })*
    };
}

impl<'a> Serializer for Selecting<'a> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Array<'a>;
    type SerializeTuple = Impossible<(), Error>;
    type SerializeTupleStruct = Impossible<(), Error>;
    type SerializeTupleVariant = Impossible<(), Error>;
    type SerializeMap = Object<'a>;
    type SerializeStruct = Object<'a>;
    type SerializeStructVariant = Impossible<(), Error>;

    whole! {
        serialize_bool(bool), serialize_i8(i8), serialize_i16(i16), serialize_i32(i32), serialize_i64(i64),
        serialize_u8(u8), serialize_u16(u16), serialize_u32(u32), serialize_u64(u64), serialize_f32(f32),
        serialize_f64(f64), serialize_char(char), serialize_str(&str), serialize_bytes(&[u8]),
    }

    fn serialize_none(self) -> Result<(), Error> {
        self.whole(&())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Error> {
        self.whole(&())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Error> {
        self.whole(&())
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), Error> {
        self.whole(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        let mut object = self.object();
        object.field(variant, value)?;
        object.close();
        Ok(())
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Array<'a>, Error> {
        self.out.push(b'[');
        Ok(Array { fields: self.fields, out: self.out, is_first: true })
    }

    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, Error> {
        Err(unlisted("a tuple"))
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeTupleStruct, Error> {
        Err(unlisted("a tuple"))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, Error> {
        Err(unlisted("a tuple"))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Object<'a>, Error> {
        Ok(self.object())
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Object<'a>, Error> {
        Ok(self.object())
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, Error> {
        Err(unlisted("a variant"))
    }
}

fn unlisted(what: impl Display) -> Error {
    Error::custom(format!("{what} is in no list"))
}

#[cfg(test)]
mod tests {
    use serde::Serialize;
    use serde_json::{Value, json};

    use super::*;

    #[derive(Serialize)]
    struct Row {
        name: &'static str,
        depth: u64,
        stats: Option<Stats>,
        extra: Value,
    }

    #[derive(Serialize)]
    struct Stats {
        publish: u64,
        rate: f64,
    }

    fn row() -> Row {
        let stats = Some(Stats { publish: 3, rate: 1.5 });
        Row { name: "a\"b", depth: 7, stats, extra: json!({"x": {"y": [1, {"z": 2}]}}) }
    }

    fn chosen(paths: &[&str]) -> Value {
        let mut out = Vec::new();
        write(&row(), &Fields::new(paths.iter().copied()), &mut out).unwrap();
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn only_what_is_wanted_is_written() {
        assert_eq!(
            chosen(&["name", "stats.rate", "nothing"]),
            json!({"name": "a\"b", "stats": {"rate": 1.5}})
        );
        assert_eq!(chosen(&["stats.rate", "stats.publish"]), json!({"stats": {"publish": 3, "rate": 1.5}}));
        assert_eq!(chosen(&["extra.x.y"]), json!({"extra": {"x": {"y": [1, {"z": 2}]}}}));
        assert_eq!(chosen(&["nothing"]), json!({}));
        assert_eq!(chosen(&["depth.inner"]), json!({"depth": 7}));
    }

    #[test]
    fn one_field_is_found_by_its_path() {
        assert_eq!(pick(&row(), "depth").as_deref(), Some(b"7".as_slice()));
        assert_eq!(pick(&row(), "stats.publish").as_deref(), Some(b"3".as_slice()));
        assert_eq!(pick(&row(), "name").as_deref(), Some(br#""a\"b""#.as_slice()));
        assert_eq!(pick(&row(), "stats.none"), None);
        assert_eq!(pick(&row(), "depth.inner.more"), None);
    }
}
