//! Where in a file a key has its value.

use toml::de::{DeTable, DeValue};

/// The line, from 1 on; `None` for a key that the file does not have.
pub(super) fn line_of(text: &str, key: &str) -> Option<usize> {
    let table = DeTable::parse(text).ok()?;
    let mut names = key.split('.');
    let first = names.next()?;
    let (found, value) = table.get_ref().iter().find(|(name, _)| name.get_ref() == first)?;
    let mut at = found.span().start;
    let mut value = value.get_ref();
    for name in names {
        // Of several tables of one name the first is meant that has the key.
        let tables: Vec<&DeTable<'_>> = match value {
            DeValue::Table(table) => vec![table],
            DeValue::Array(array) => array.iter().filter_map(|part| part.get_ref().as_table()).collect(),
            _ => Vec::new(),
        };
        let mut entries = tables.into_iter().flatten();
        let Some((found, next)) = entries.find(|(found, _)| found.get_ref() == name) else { break };
        at = found.span().start;
        value = next.get_ref();
    }
    Some(text.get(..at)?.matches('\n').count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_in_its_line() {
        let text =
            "# comment\n[node]\nname = \"a\"\n\n[tls]\nbind = \"\"\n[[tls.certificates]]\nnames = []\n";
        assert_eq!(line_of(text, "node.name"), Some(3));
        assert_eq!(line_of(text, "tls.bind"), Some(6));
        assert_eq!(line_of(text, "tls.certificates.names"), Some(8));
        assert_eq!(line_of(text, "node.shards"), Some(2), "the table, for want of the key");
        assert_eq!(line_of(text, "log.sync"), None);
    }
}
