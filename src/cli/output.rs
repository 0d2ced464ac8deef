//! Rows as tables that fit the terminal, as JSON, or as lines with tabs.

use std::io::{IsTerminal, Write};
use std::process::{Command, Stdio};

use serde_json::{Map, Value};

use super::access::Output;

const GAP: usize = 2;
/// A column is not made narrower than this.
const WIDTH_MIN: usize = 8;

/// Shows objects with these columns; JSON has all fields if no columns are asked for.
pub(crate) fn show(rows: &[Value], columns: &[String], is_chosen: bool, output: Output) {
    match output {
        Output::Json if is_chosen => {
            let cut = |row: &Value| -> Value {
                let fields = columns.iter().map(|column| (column.clone(), field(row, column).clone()));
                Value::Object(fields.collect::<Map<_, _>>())
            };
            json(&Value::Array(rows.iter().map(cut).collect()));
        }
        Output::Json => json(&Value::Array(rows.to_vec())),
        Output::Tsv => {
            say(&columns.join("\t"));
            for row in rows {
                let cells: Vec<_> = columns.iter().map(|column| escaped(&cell(field(row, column)))).collect();
                say(&cells.join("\t"));
            }
        }
        Output::Table => table(rows, columns, terminal_columns()).iter().for_each(|line| say(line)),
    }
}

/// Shows one object: a line for each field in tables.
pub(crate) fn show_one(pairs: &[(&str, String)], whole: &Value, output: Output) {
    match output {
        Output::Json => json(whole),
        Output::Tsv => pairs.iter().for_each(|(name, value)| say(&format!("{name}\t{}", escaped(value)))),
        Output::Table => {
            let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
            pairs.iter().for_each(|(name, value)| say(&format!("{name:width$}  {value}")));
        }
    }
}

pub(crate) fn json(value: &Value) {
    say(&serde_json::to_string_pretty(value).unwrap_or_default());
}

/// Writes a line; a reader that has gone is no reason to fail.
pub(crate) fn say(line: &str) {
    let mut out = std::io::stdout();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Tells people what was done; programs that read JSON or lines do not want it.
pub(crate) fn told(line: &str, output: Output) {
    if output == Output::Table {
        say(line);
    }
}

/// A field by a path with dots.
pub(crate) fn field<'a>(row: &'a Value, path: &str) -> &'a Value {
    if let Some(value) = row.get(path) {
        return value;
    }
    path.split('.').try_fold(row, |value, name| value.get(name)).unwrap_or(&Value::Null)
}

pub(crate) fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.iter().all(Value::is_string) => {
            items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(",")
        }
        Value::Object(fields) if fields.is_empty() => String::new(),
        other => other.to_string(),
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n").replace('\r', "\\r")
}

fn table(rows: &[Value], columns: &[String], width: Option<usize>) -> Vec<String> {
    let printable =
        |text: String| text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>();
    let cells = rows.iter().map(|row| -> Vec<String> {
        columns.iter().map(|column| printable(cell(field(row, column)))).collect()
    });
    let lines: Vec<Vec<String>> = std::iter::once(columns.to_vec()).chain(cells).collect();
    let widest = |at: usize| lines.iter().map(|line| line[at].chars().count()).max().unwrap_or(0);
    let mut widths: Vec<usize> = (0..columns.len()).map(widest).collect();
    if let Some(width) = width {
        fit(&mut widths, width);
    }
    let write = |line: &Vec<String>| {
        let cells: Vec<_> = line.iter().zip(&widths).map(|(cell, width)| padded(cell, *width)).collect();
        cells.join(&" ".repeat(GAP)).trim_end().to_owned()
    };
    lines.iter().map(write).collect()
}

/// Takes from the widest columns until all fit.
fn fit(widths: &mut [usize], width: usize) {
    let gaps = GAP * widths.len().saturating_sub(1);
    while widths.iter().sum::<usize>() + gaps > width {
        let Some(widest) = widths.iter_mut().max() else { return };
        if *widest <= WIDTH_MIN {
            return;
        }
        *widest -= 1;
    }
}

fn padded(text: &str, width: usize) -> String {
    let count = text.chars().count();
    if count <= width {
        return format!("{text}{}", " ".repeat(width - count));
    }
    let cut: String = text.chars().take(width.saturating_sub(1)).collect();
    format!("{cut}…")
}

/// The width of the terminal, if one is there to fit.
fn terminal_columns() -> Option<usize> {
    if !std::io::stdout().is_terminal() {
        return None;
    }
    let told = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    told.or_else(|| {
        let size = Command::new("stty").arg("size").stdin(Stdio::inherit()).stderr(Stdio::null()).output();
        String::from_utf8(size.ok()?.stdout).ok()?.split_whitespace().nth(1)?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tables_fit_the_terminal_and_cut_the_widest_column() {
        let rows = [json!({"name": "a".repeat(60), "n": 5}), json!({"name": "ü", "n": null})];
        let columns = ["name".to_owned(), "n".to_owned()];
        let lines = table(&rows, &columns, Some(30));
        assert!(lines.iter().all(|line| line.chars().count() <= 30), "{lines:?}");
        assert!(lines[1].contains('…') && lines[1].ends_with('5'));
        assert!(table(&rows, &columns, None)[1].contains(&"a".repeat(60)));
    }

    #[test]
    fn fields_are_found_by_paths_and_shown_in_one_line() {
        let row = json!({"a": {"b": 1}, "apply-to": "all", "tags": ["x", "y"], "t": "a\tb\n"});
        assert_eq!(field(&row, "a.b"), &json!(1));
        assert_eq!(field(&row, "a.c"), &Value::Null);
        assert_eq!(cell(field(&row, "tags")), "x,y");
        assert_eq!(escaped(&cell(field(&row, "t"))), "a\\tb\\n");
        assert_eq!(table(&[row], &["t".to_owned()], None)[1], "a b");
    }
}
