//! Values that come over those of the file: of the environment, and of flags.
//!
//! A variable is `WARREN_`, the table, two underscores and the key, in capitals: `WARREN_LISTENER__BIND`. A list is written as in
//! TOML or with commas between its parts.

use toml::{Table, Value};

use super::error::ConfigError;
use super::raw::{Cluster, Raw};

const PREFIX: &str = "WARREN_";

/// One value, and who has set it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlay {
    /// The variable or flag.
    pub setting: String,
    /// Table and key, joined by a dot.
    pub key: String,
    /// As it was written.
    pub value: String,
}

impl Overlay {
    /// Those of the environment. Variables without a table are for others.
    pub fn of_environment(variables: impl Iterator<Item = (String, String)>) -> Vec<Self> {
        let mut found: Vec<_> = variables
            .filter_map(|(setting, value)| {
                let (table, key) = setting.strip_prefix(PREFIX)?.split_once("__")?;
                let key = format!("{}.{}", table.to_ascii_lowercase(), key.to_ascii_lowercase());
                Some(Self { setting, key, value })
            })
            .collect();
        found.sort_by(|one, other| one.setting.cmp(&other.setting));
        found
    }

    /// That of a flag.
    #[must_use]
    pub fn of_flag(flag: &str, key: &str, value: &str) -> Self {
        Self { setting: flag.to_owned(), key: key.to_owned(), value: value.to_owned() }
    }

    fn refused(&self, allowed: String) -> ConfigError {
        let found = if super::effective::is_secret(&self.key) {
            format!("{} bytes", self.value.len())
        } else {
            format!("{:?}", self.value)
        };
        ConfigError::Refused {
            file: None,
            line: None,
            setting: Some(self.setting.clone()),
            key: self.key.as_str().into(),
            found: found.into(),
            allowed,
        }
    }
}

/// All keys with their values, the later ones over the earlier.
pub(super) fn lay_over(raw: &Raw, overlays: &[Overlay]) -> Result<Table, ConfigError> {
    let mut table = table_of(raw)?;
    for overlay in overlays {
        let (section, key) = overlay.key.split_once('.').unwrap_or((&overlay.key, ""));
        if section == "cluster" && !table.contains_key(section) {
            table.insert(section.to_owned(), Value::Table(table_of(&Cluster::default())?));
        }
        let known = |keys: &Table| keys.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        let tables = known(&table);
        let Some(Value::Table(keys)) = table.get_mut(section) else {
            return Err(unknown(overlay, &format!("one of the tables {tables}, cluster")));
        };
        let allowed = known(keys);
        let Some(value) = keys.get_mut(key) else {
            return Err(unknown(overlay, &format!("[{section}] with one of {allowed}")));
        };
        *value = like(value, overlay)?;
    }
    Ok(table)
}

fn table_of(value: &impl serde::Serialize) -> Result<Table, ConfigError> {
    Table::try_from(value).map_err(|error| ConfigError::Unusable(error.to_string()))
}

fn unknown(overlay: &Overlay, allowed: &str) -> ConfigError {
    ConfigError::Unknown {
        setting: overlay.setting.clone(),
        key: overlay.key.clone(),
        allowed: allowed.to_owned(),
    }
}

/// The text as a value of the kind that the key has.
fn like(value: &Value, overlay: &Overlay) -> Result<Value, ConfigError> {
    let text = overlay.value.trim();
    match value {
        Value::String(_) => Ok(Value::String(overlay.value.clone())),
        Value::Integer(_) => {
            text.parse().map(Value::Integer).map_err(|_| overlay.refused("a whole number".to_owned()))
        }
        Value::Boolean(_) => {
            text.parse().map(Value::Boolean).map_err(|_| overlay.refused("\"true\" or \"false\"".to_owned()))
        }
        Value::Float(_) => text.parse().map(Value::Float).map_err(|_| overlay.refused("a number".to_owned())),
        Value::Array(_) if text.starts_with('[') => {
            let list = format!("list = {text}").parse::<Table>().ok();
            let list = list.and_then(|mut table| table.remove("list"));
            list.ok_or_else(|| overlay.refused("a list as in TOML".to_owned()))
        }
        Value::Array(_) => {
            let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
            Ok(Value::Array(parts.map(|part| Value::String(part.to_owned())).collect()))
        }
        Value::Datetime(_) | Value::Table(_) => {
            Err(overlay.refused("nothing: this key cannot be set from outside of the file".to_owned()))
        }
    }
}
