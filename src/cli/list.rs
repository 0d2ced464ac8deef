//! `warren list`: objects of one kind, as columns.

use std::cmp::Ordering;

use clap::{Args, ValueEnum};
use fancy_regex::Regex;
use serde_json::{Value, json};

use super::access::Access;
use super::failure::Failure;
use super::http::{Node, part};
use super::output::{cell, field, show};

const PAGE_SIZE: usize = 500;

/// What to list, and how.
#[derive(Args, Debug)]
pub(crate) struct List {
    /// What to list
    #[arg(value_enum)]
    kind: Kind,
    /// Only those of this vhost
    #[arg(long, short = 'V', value_name = "VHOST")]
    vhost: Option<String>,
    /// Columns, with commas between them; dots lead into objects, such as message_stats.publish_details.rate
    #[arg(long, short, value_name = "COLUMNS", value_delimiter = ',')]
    columns: Vec<String>,
    /// Column to sort by; with a minus in front of it the highest comes first
    #[arg(long, short, value_name = "COLUMN", allow_hyphen_values = true)]
    sort: Option<String>,
    /// Only those with this: a regular expression for the name, or COLUMN=VALUE
    #[arg(long, short, value_name = "FILTER")]
    filter: Option<String>,
    #[command(flatten)]
    access: Access,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    Queues,
    Exchanges,
    Bindings,
    Connections,
    Channels,
    Consumers,
    Users,
    Vhosts,
    Permissions,
    TopicPermissions,
    Policies,
    OperatorPolicies,
    Parameters,
    GlobalParameters,
    Limits,
    Nodes,
}

impl Kind {
    /// The path, whether the vhost is a part of it, whether it is given in pages, and the usual columns.
    fn facts(self) -> (&'static str, bool, bool, &'static str) {
        match self {
            Self::Queues => (
                "queues",
                true,
                true,
                "vhost,name,type,state,messages,messages_ready,messages_unacknowledged,consumers,policy",
            ),
            Self::Exchanges => {
                ("exchanges", true, true, "vhost,name,type,durable,auto_delete,internal,policy")
            }
            Self::Bindings => {
                ("bindings", true, false, "vhost,source,destination,destination_type,routing_key,arguments")
            }
            Self::Connections => ("connections", false, true, "name,user,vhost,state,channels,protocol,ssl"),
            Self::Channels => (
                "channels",
                false,
                true,
                "name,user,vhost,prefetch_count,messages_unacknowledged,consumer_count,confirm",
            ),
            Self::Consumers => (
                "consumers",
                true,
                false,
                "queue.vhost,queue.name,consumer_tag,channel_details.name,ack_required,prefetch_count,active",
            ),
            Self::Users => ("users", false, false, "name,tags,hashing_algorithm"),
            Self::Vhosts => ("vhosts", false, false, "name,description,tags,default_queue_type,messages"),
            Self::Permissions => ("permissions", false, false, "user,vhost,configure,write,read"),
            Self::TopicPermissions => ("topic-permissions", false, false, "user,vhost,exchange,write,read"),
            Self::Policies => ("policies", true, false, "vhost,name,pattern,apply-to,priority,definition"),
            Self::OperatorPolicies => {
                ("operator-policies", true, false, "vhost,name,pattern,apply-to,priority,definition")
            }
            Self::Parameters => ("parameters", false, false, "vhost,component,name,value"),
            Self::GlobalParameters => ("global-parameters", false, false, "name,value"),
            Self::Limits => ("", false, false, "kind,name,limits"),
            Self::Nodes => {
                ("nodes", false, false, "name,type,running,mem_used,mem_alarm,disk_free_alarm,uptime")
            }
        }
    }
}

pub(crate) fn run(list: &List) -> Result<(), Failure> {
    let node = Node::new(list.access.target()?);
    let (path, has_vhost, has_pages, usual) = list.kind.facts();
    let mut rows = match (list.kind, &list.vhost) {
        (Kind::Limits, _) => limits(&node)?,
        (_, Some(vhost)) if has_vhost => all(&node, &format!("{path}/{}", part(vhost)), has_pages)?,
        _ => all(&node, path, has_pages)?,
    };
    if let Some(vhost) = list.vhost.as_deref().filter(|_| !has_vhost) {
        let place = if list.kind == Kind::Vhosts { "name" } else { "vhost" };
        rows.retain(|row| field(row, place).as_str().is_none_or(|found| found == vhost));
    }
    if let Some(filter) = &list.filter {
        let keeps = keeper(filter)?;
        rows.retain(|row| keeps(row));
    }
    if let Some(sort) = &list.sort {
        let (column, is_reversed) =
            sort.strip_prefix('-').map_or((sort.as_str(), false), |name| (name, true));
        rows.sort_by(|one, other| {
            let order = compare(field(one, column), field(other, column));
            if is_reversed { order.reverse() } else { order }
        });
    }
    let is_chosen = !list.columns.is_empty();
    let usual = || usual.split(',').map(str::to_owned).collect();
    let columns: Vec<String> = if is_chosen { list.columns.clone() } else { usual() };
    show(&rows, &columns, is_chosen, list.access.output);
    Ok(())
}

/// All objects of a path, however many pages they fill.
pub(crate) fn all(node: &Node, path: &str, has_pages: bool) -> Result<Vec<Value>, Failure> {
    if !has_pages {
        return Ok(as_rows(node.get(path)?));
    }
    let mut rows = Vec::new();
    for page in 1.. {
        let answer = node.get(&format!("{path}?page={page}&page_size={PAGE_SIZE}"))?;
        let pages = answer.get("page_count").and_then(Value::as_u64);
        let Some(items) = answer.get("items").cloned() else { return Ok(as_rows(answer)) };
        rows.extend(as_rows(items));
        if pages.is_none_or(|pages| page >= pages) {
            break;
        }
    }
    Ok(rows)
}

fn as_rows(answer: Value) -> Vec<Value> {
    match answer {
        Value::Array(rows) => rows,
        Value::Null => Vec::new(),
        one => vec![one],
    }
}

fn limits(node: &Node) -> Result<Vec<Value>, Failure> {
    let mut rows = Vec::new();
    for (path, kind, name) in [("vhost-limits", "vhost", "vhost"), ("user-limits", "user", "user")] {
        for limit in all(node, path, false)? {
            rows.push(json!({"kind": kind, "name": field(&limit, name), "limits": field(&limit, "value")}));
        }
    }
    Ok(rows)
}

/// Whether a row is to be shown.
type Keep = Box<dyn Fn(&Value) -> bool>;

fn keeper(filter: &str) -> Result<Keep, Failure> {
    if let Some((column, wanted)) = filter.split_once('=') {
        let (column, wanted) = (column.to_owned(), wanted.to_owned());
        return Ok(Box::new(move |row| cell(field(row, &column)) == wanted));
    }
    let regex =
        Regex::new(filter).map_err(|error| Failure::usage(format!("--filter '{filter}': {error}")))?;
    let names = ["name", "user", "source", "consumer_tag"];
    Ok(Box::new(move |row| {
        let name = names.iter().find_map(|name| field(row, name).as_str()).unwrap_or_default();
        regex.is_match(name).unwrap_or(false)
    }))
}

fn compare(one: &Value, other: &Value) -> Ordering {
    match (one.as_f64(), other.as_f64()) {
        (Some(one), Some(other)) => one.total_cmp(&other),
        (Some(_), None) => Ordering::Greater,
        (None, Some(_)) => Ordering::Less,
        (None, None) => cell(one).cmp(&cell(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_patterns_for_names_or_values_of_columns() {
        let row = json!({"name": "orders.eu", "vhost": "/", "durable": true, "messages": 3});
        assert!(keeper("^orders").unwrap()(&row));
        assert!(!keeper("^eu").unwrap()(&row));
        assert!(keeper("durable=true").unwrap()(&row));
        assert!(!keeper("messages=4").unwrap()(&row));
        assert!(keeper("(").is_err());
    }

    #[test]
    fn numbers_are_sorted_as_numbers_and_what_is_missing_comes_first() {
        let mut values = [json!(10), json!(9), json!(null), json!(10.5)];
        values.sort_by(compare);
        assert_eq!(values, [json!(null), json!(9), json!(10), json!(10.5)]);
    }
}
