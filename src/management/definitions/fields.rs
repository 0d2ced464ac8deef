//! The fields of one object of a file.

use serde_json::{Map, Value};

/// One object of a file.
pub(super) struct Fields<'a>(&'a Map<String, Value>);

impl<'a> Fields<'a> {
    pub(super) fn new(value: &'a Value) -> Result<Self, String> {
        value.as_object().map(Self).ok_or_else(|| format!("it is no JSON object: {value}"))
    }

    /// A field that is there and says something.
    pub(super) fn get(&self, name: &str) -> Option<&'a Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<&'a str>, String> {
        let Some(value) = self.get(name) else { return Ok(None) };
        value.as_str().map(Some).ok_or_else(|| format!("'{name}' is no text: {value}"))
    }

    pub(super) fn needed(&self, name: &str) -> Result<&'a str, String> {
        self.text(name)?.ok_or_else(|| format!("it has no '{name}'"))
    }

    pub(super) fn flag(&self, name: &str) -> Result<bool, String> {
        match self.get(name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(Value::String(text)) if text == "true" => Ok(true),
            Some(Value::String(text)) if text == "false" => Ok(false),
            Some(value) => Err(format!("'{name}' is neither true nor false: {value}")),
        }
    }

    pub(super) fn integer(&self, name: &str) -> Result<Option<i64>, String> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let number = value.as_i64().or_else(|| value.as_str().and_then(|text| text.parse().ok()));
        number.map(Some).ok_or_else(|| format!("'{name}' is no whole number: {value}"))
    }

    /// Words with commas between them: RabbitMQ wrote tags as one text before 3.9, as a list since then.
    pub(super) fn words(&self, name: &str) -> Result<String, String> {
        let wrong = |value: &Value| format!("'{name}' is neither a text nor a list of texts: {value}");
        let words: Vec<&str> = match self.get(name) {
            None => Vec::new(),
            Some(Value::String(text)) => text.split(',').map(str::trim).collect(),
            Some(value @ Value::Array(items)) => {
                let words: Option<Vec<_>> = items.iter().map(Value::as_str).collect();
                words.ok_or_else(|| wrong(value))?
            }
            Some(value) => return Err(wrong(value)),
        };
        Ok(words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(","))
    }

    /// Limits by name: as an object, or as a list of objects with `name` and `value`. A negative one is none.
    pub(super) fn limits(&self, name: &str, known: [&str; 2]) -> Result<Option<[Option<u64>; 2]>, String> {
        self.get(name).map(|value| limits(value, known)).transpose()
    }

    /// The vhost the object is in: the one that the whole file is for, if there is one.
    pub(super) fn vhost(&self, only: Option<&str>) -> Result<String, String> {
        only.map_or_else(|| self.needed("vhost"), Ok).map(str::to_owned)
    }
}

/// Limits by name, whichever form they have.
pub(super) fn limits(value: &Value, known: [&str; 2]) -> Result<[Option<u64>; 2], String> {
    let pairs: Vec<(&str, &Value)> = match value {
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.as_str(), value)).collect(),
        Value::Array(items) => items
            .iter()
            .map(|item| {
                let name = item.get("name").and_then(Value::as_str);
                name.zip(item.get("value")).ok_or_else(|| format!("a limit has no name or value: {item}"))
            })
            .collect::<Result<_, _>>()?,
        other => return Err(format!("limits are neither an object nor a list: {other}")),
    };
    let mut limits = [None; 2];
    for (name, value) in pairs {
        let place = known.iter().position(|known| *known == name);
        let place = place.ok_or_else(|| format!("there is no limit '{name}'"))?;
        let number = value.as_i64().ok_or_else(|| format!("limit '{name}' is no whole number: {value}"))?;
        limits[place] = u64::try_from(number).ok();
    }
    Ok(limits)
}
