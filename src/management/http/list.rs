//! Lists: the part that is wanted, in the order that is wanted, with the columns that are wanted.

use std::cmp::Ordering;
use std::convert::Infallible;

use axum::extract::{FromRequestParts, Query};
use axum::response::Response;
use fancy_regex::{Regex, RegexBuilder};
use hyper::StatusCode;
use hyper::http::request::Parts;
use serde::Serialize;
use serde_json::Value;

use super::failure::{Failure, Outcome};
use super::reply;
use super::select::{self, Fields};

/// Objects on one page when nobody says how many, and at most.
const PAGE_SIZE: usize = 100;
const PAGE_SIZE_MAX: usize = 500;
/// A regular expression that takes longer than this for one name matches nothing.
const BACKTRACKS_MAX: usize = 100_000;

/// What stands behind the `?` of a request.
#[derive(Clone, Debug, Default)]
pub struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// A value by its name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Whether a value is `true`.
    #[must_use]
    pub fn is_set(&self, name: &str) -> bool {
        self.get(name) == Some("true")
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Parameters {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Query::try_from_uri(&parts.uri).map_or_else(|_| Self::default(), |Query(pairs)| Self(pairs)))
    }
}

/// How a list is wanted.
#[derive(Debug, Default)]
pub struct ListQuery {
    page: Option<Page>,
    sort: Option<String>,
    is_reversed: bool,
    columns: Option<Fields>,
}

#[derive(Debug)]
struct Page {
    number: usize,
    size: usize,
    names: Names,
}

/// Which names are wanted.
#[derive(Debug)]
enum Names {
    All,
    None,
    /// Those with this text in them, whichever the case.
    With(String),
    Matching(Box<Regex>),
}

/// A list in its default order, to be shown as a query wants it.
pub struct List<T> {
    items: Vec<T>,
    total: usize,
    filtered: usize,
}

impl ListQuery {
    /// Reads how a list is wanted.
    ///
    /// # Errors
    /// 400 when the numbers of pages make no sense.
    pub fn new(parameters: &Parameters) -> Result<Self, Failure> {
        let columns = parameters.get("columns").map(|columns| Fields::new(columns.split(',').map(str::trim)));
        Ok(Self {
            page: Page::new(parameters)?,
            sort: parameters.get("sort").filter(|sort| !sort.is_empty()).map(str::to_owned),
            is_reversed: parameters.is_set("sort_reverse"),
            columns,
        })
    }

    /// Whether one page is wanted.
    #[must_use]
    pub fn is_paged(&self) -> bool {
        self.page.is_some()
    }

    /// Answers with `items`, which come in the order that holds when no other is wanted.
    ///
    /// # Errors
    /// 400 when there is no such page.
    pub fn reply<T: Serialize>(&self, items: Vec<T>) -> Outcome {
        let list = self.cut(items)?;
        Ok(self.write(&list))
    }

    /// What of `items` is wanted. Their fields `name` and the one that sorts must be there already; what is costly to find
    /// may come after this.
    ///
    /// # Errors
    /// 400 when there is no such page.
    pub fn cut<T: Serialize>(&self, mut items: Vec<T>) -> Result<List<T>, Failure> {
        let total = items.len();
        if let Some(page) = &self.page {
            page.names.keep(&mut items);
        }
        if let Some(field) = &self.sort {
            items = sorted(items, field);
        }
        if self.is_reversed {
            items.reverse();
        }
        let filtered = items.len();
        if let Some(page) = &self.page {
            items = page.of(items)?;
        }
        Ok(List { items, total, filtered })
    }

    /// One object, with the columns that are wanted.
    pub fn show<T: Serialize>(&self, item: &T) -> Response {
        let mut out = Vec::new();
        self.put(item, &mut out);
        reply::written(StatusCode::OK, out)
    }

    /// The answer.
    pub fn write<T: Serialize>(&self, list: &List<T>) -> Response {
        let mut out = Vec::with_capacity(64 + list.items.len() * 256);
        if let Some(page) = &self.page {
            page.head(list.items.len(), list.filtered, &mut out);
        }
        out.push(b'[');
        for (place, item) in list.items.iter().enumerate() {
            if place > 0 {
                out.push(b',');
            }
            self.put(item, &mut out);
        }
        out.push(b']');
        if let Some(page) = &self.page {
            page.foot(list, &mut out);
        }
        reply::written(StatusCode::OK, out)
    }

    fn put<T: Serialize>(&self, item: &T, out: &mut Vec<u8>) {
        let from = out.len();
        let written = match &self.columns {
            Some(columns) => select::write(item, columns, out),
            None => serde_json::to_writer(&mut *out, item),
        };
        if let Err(error) = written {
            tracing::error!(%error, "an object cannot be written as JSON");
            out.truncate(from);
            out.extend_from_slice(b"null");
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for ListQuery {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let Ok(parameters) = Parameters::from_request_parts(parts, state).await;
        Self::new(&parameters)
    }
}

impl<T> List<T> {
    /// Makes something else of each item.
    pub fn map<U>(self, make: impl FnMut(T) -> U) -> List<U> {
        List { items: self.items.into_iter().map(make).collect(), total: self.total, filtered: self.filtered }
    }
}

impl Page {
    fn new(parameters: &Parameters) -> Result<Option<Self>, Failure> {
        let Some(number) = parameters.get("page") else { return Ok(None) };
        let number = whole(number)?;
        let size = parameters.get("page_size").map_or(Ok(PAGE_SIZE as i64), whole)?;
        let in_range = |number: i64| usize::try_from(number).ok().filter(|number| *number > 0);
        match (in_range(number), in_range(size).filter(|size| *size <= PAGE_SIZE_MAX)) {
            (Some(number), Some(size)) => Ok(Some(Self { number, size, names: Names::new(parameters) })),
            _ => Err(Failure::new(
                StatusCode::BAD_REQUEST,
                "invalid_pagination_parameters",
                format!("Invalid pagination parameters: page number {number}, page size {size}"),
            )),
        }
    }

    fn of<T>(&self, items: Vec<T>) -> Result<Vec<T>, Failure> {
        let length = items.len();
        let from = (self.number - 1).saturating_mul(self.size);
        if from >= length && self.number > 1 {
            let (number, size) = (self.number, self.size);
            return Err(Failure::new(
                StatusCode::BAD_REQUEST,
                "page_out_of_range",
                format!("Page out of range, page: {number} page size: {size}, len: {length}"),
            ));
        }
        Ok(items.into_iter().skip(from).take(self.size).collect())
    }

    fn head(&self, items: usize, filtered: usize, out: &mut Vec<u8>) {
        let head = format!("{{\"filtered_count\":{filtered},\"item_count\":{items},\"items\":");
        out.extend_from_slice(head.as_bytes());
    }

    fn foot<T>(&self, list: &List<T>, out: &mut Vec<u8>) {
        let foot = format!(
            ",\"page\":{},\"page_count\":{},\"page_size\":{},\"total_count\":{}}}",
            self.number,
            list.filtered.div_ceil(self.size),
            self.size,
            list.total
        );
        out.extend_from_slice(foot.as_bytes());
    }
}

fn whole(text: &str) -> Result<i64, Failure> {
    text.parse().map_err(|_| Failure::bad_request("Pagination parameters are invalid"))
}

impl Names {
    fn new(parameters: &Parameters) -> Self {
        let Some(name) = parameters.get("name").filter(|name| !name.is_empty()) else { return Self::All };
        if !parameters.is_set("use_regex") {
            return Self::With(name.to_lowercase());
        }
        let regex = RegexBuilder::new(name).case_insensitive(true).backtrack_limit(BACKTRACKS_MAX).build();
        regex.map_or(Self::None, |regex| Self::Matching(Box::new(regex)))
    }

    fn keep<T: Serialize>(&self, items: &mut Vec<T>) {
        if matches!(self, Self::All) {
            return;
        }
        items.retain(|item| {
            let name =
                select::pick(item, "name").and_then(|name| serde_json::from_slice::<String>(&name).ok());
            name.is_some_and(|name| self.has(&name))
        });
    }

    fn has(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::None => false,
            Self::With(part) => name.to_lowercase().contains(part),
            Self::Matching(regex) => regex.is_match(name).unwrap_or(false),
        }
    }
}

/// In the order of one field; items that are equal in it stay as they are.
fn sorted<T: Serialize>(items: Vec<T>, field: &str) -> Vec<T> {
    let mut keyed: Vec<_> = items.into_iter().map(|item| (Key::of(&item, field), item)).collect();
    keyed.sort_by(|(a, _), (b, _)| a.compare(b));
    keyed.into_iter().map(|(_, item)| item).collect()
}

/// What is sorted by, in the order of RabbitMQ: numbers, words (`null` and truths), texts.
enum Key {
    Number(f64),
    Word(&'static str),
    Text(String),
}

impl Key {
    fn of<T: Serialize>(item: &T, field: &str) -> Self {
        let value = select::pick(item, field).and_then(|text| serde_json::from_slice(&text).ok());
        match value {
            None => Self::Number(0.0),
            Some(Value::Number(number)) => Self::Number(number.as_f64().unwrap_or(0.0)),
            Some(Value::String(text)) => Self::Text(text),
            Some(Value::Bool(true)) => Self::Word("true"),
            Some(Value::Bool(false)) => Self::Word("false"),
            Some(Value::Null) => Self::Word("null"),
            Some(other) => Self::Text(other.to_string()),
        }
    }

    fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => a.total_cmp(b),
            (Self::Word(a), Self::Word(b)) => a.cmp(b),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Number(_) => 0,
            Self::Word(_) => 1,
            Self::Text(_) => 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn query(text: &str) -> Result<ListQuery, Failure> {
        let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
        ListQuery::new(&Parameters(pairs.map(|(a, b)| (a.to_owned(), b.to_owned())).collect()))
    }

    fn names(text: &str) -> Vec<String> {
        let rows = ["anna", "Bert", "carl", "berta"];
        let rows = rows.iter().enumerate().map(|(place, name)| {
            let key = if place == 1 { Value::Null } else { json!(10 - place) };
            json!({"name": name, "key": key})
        });
        let list = query(text).unwrap().cut(rows.collect::<Vec<_>>()).unwrap();
        list.items.iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn a_list_is_sorted_by_any_field_and_reversed() {
        assert_eq!(names(""), ["anna", "Bert", "carl", "berta"]);
        assert_eq!(names("sort=name"), ["Bert", "anna", "berta", "carl"]);
        assert_eq!(names("sort=key"), ["berta", "carl", "anna", "Bert"]);
        assert_eq!(names("sort=key&sort_reverse=true"), ["Bert", "anna", "carl", "berta"]);
        assert_eq!(names("sort=nothing"), ["anna", "Bert", "carl", "berta"]);
    }

    #[test]
    fn names_are_filtered_on_pages_only() {
        assert_eq!(names("name=bert"), ["anna", "Bert", "carl", "berta"]);
        assert_eq!(names("page=1&name=bert"), ["Bert", "berta"]);
        assert_eq!(names("page=1&name=^b.*t$&use_regex=true"), ["Bert"]);
        assert!(names("page=1&name=(&use_regex=true").is_empty());
    }

    #[test]
    fn pages_are_cut_and_must_be_there() {
        assert_eq!(names("page=2&page_size=3"), ["berta"]);
        let rows = || vec![json!({"name": "a"})];
        let failure = query("page=99&page_size=1").unwrap().cut(rows()).err().unwrap();
        assert_eq!(failure.error, "page_out_of_range");
        assert_eq!(failure.reason, "Page out of range, page: 99 page size: 1, len: 1");
        assert!(query("page=1").unwrap().cut(Vec::<Value>::new()).is_ok());
    }

    #[test]
    fn numbers_of_pages_are_checked() {
        assert_eq!(query("page=a").err().unwrap().reason, "Pagination parameters are invalid");
        for bad in ["page=0", "page=1&page_size=0", "page=1&page_size=501", "page=-1"] {
            assert_eq!(query(bad).err().unwrap().error, "invalid_pagination_parameters", "{bad}");
        }
    }
}
