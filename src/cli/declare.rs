//! `warren declare` and `warren set`: objects that are to be there.

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Map, Value, json};

use super::access::Access;
use super::failure::Failure;
use super::http::{Node, part};
use super::output::told;

/// Makes an object, or gives a setting a value.
#[derive(Args, Debug)]
pub(crate) struct Declare {
    #[command(subcommand)]
    what: What,
    /// The vhost it is in
    #[arg(long, short = 'V', global = true, value_name = "VHOST", default_value = "/")]
    vhost: String,
    #[command(flatten)]
    access: Access,
}

#[derive(Debug, Subcommand)]
enum What {
    /// A queue
    Queue {
        name: String,
        /// classic or quorum; without it the vhost's default
        #[arg(long = "type", value_name = "TYPE")]
        kind: Option<String>,
        #[command(flatten)]
        lasting: Lasting,
    },
    /// An exchange
    Exchange {
        name: String,
        /// direct, fanout, topic, headers, x-consistent-hash, x-delayed-message, ...
        #[arg(value_name = "TYPE")]
        kind: String,
        /// Only other exchanges may hand it messages
        #[arg(long)]
        internal: bool,
        #[command(flatten)]
        lasting: Lasting,
    },
    /// A binding from an exchange to a queue or another exchange
    Binding {
        source: String,
        destination: String,
        /// The binding key
        #[arg(long, short, default_value = "")]
        key: String,
        /// What the destination is
        #[arg(long, value_enum, default_value = "queue")]
        to: To,
        /// An argument, as NAME=VALUE; VALUE is JSON, or a text
        #[arg(long = "argument", short, value_name = "NAME=VALUE", value_parser = pair)]
        arguments: Vec<(String, Value)>,
    },
    /// A virtual host
    #[command(name = "vhost")]
    Virtual {
        name: String,
        /// For people
        #[arg(long, default_value = "")]
        description: String,
        /// Words with commas between them
        #[arg(long, default_value = "")]
        tags: String,
        /// The type of queues that do not say theirs
        #[arg(long, value_name = "TYPE")]
        default_queue_type: Option<String>,
    },
    /// A user, or another password and other tags for one
    User {
        name: String,
        /// The password; better by --password-stdin, where no other program sees it
        #[arg(long = "new-password", value_name = "PASSWORD")]
        password: Option<String>,
        /// Take the password from the first line of the standard input
        #[arg(long)]
        password_stdin: bool,
        /// administrator, monitoring, policymaker, management; with commas between them
        #[arg(long, default_value = "")]
        tags: String,
    },
    /// What a user may do in the vhost
    Permissions {
        user: String,
        /// Names of queues and exchanges that it may declare and delete, as a regular expression
        #[arg(default_value = ".*")]
        configure: String,
        /// Names that it may publish and bind to
        #[arg(default_value = ".*")]
        write: String,
        /// Names that it may consume and bind from
        #[arg(default_value = ".*")]
        read: String,
    },
    /// Which routing keys of a topic exchange a user may use in the vhost
    TopicPermissions { user: String, exchange: String, write: String, read: String },
    /// A policy
    Policy(Policy),
    /// An operator's policy, which bounds the others
    OperatorPolicy(Policy),
    /// A limit of the vhost: max-connections or max-queues; -1 is none
    VhostLimit {
        limit: String,
        #[arg(allow_hyphen_values = true)]
        value: i64,
    },
    /// A limit of a user: max-connections or max-channels; -1 is none
    UserLimit {
        user: String,
        limit: String,
        #[arg(allow_hyphen_values = true)]
        value: i64,
    },
    /// A parameter of a component of the vhost
    Parameter {
        component: String,
        name: String,
        /// JSON, or a text
        #[arg(value_parser = value)]
        value: Value,
    },
    /// A global parameter
    GlobalParameter {
        name: String,
        /// JSON, or a text
        #[arg(value_parser = value)]
        value: Value,
    },
}

#[derive(Args, Debug)]
struct Lasting {
    /// Does not survive a restart
    #[arg(long)]
    transient: bool,
    /// Goes with its last consumer or binding
    #[arg(long)]
    auto_delete: bool,
    /// An argument, as NAME=VALUE; VALUE is JSON, or a text
    #[arg(long = "argument", short, value_name = "NAME=VALUE", value_parser = pair)]
    arguments: Vec<(String, Value)>,
}

#[derive(Args, Debug)]
struct Policy {
    name: String,
    /// Names it is for, as a regular expression
    pattern: String,
    /// What it asks for, as a JSON object such as '{"max-length": 1000}'
    #[arg(value_parser = value)]
    definition: Value,
    /// all, queues, classic_queues, quorum_queues or exchanges
    #[arg(long, default_value = "all")]
    apply_to: String,
    /// Of those that match, the highest holds
    #[arg(long, default_value_t = 0, allow_hyphen_values = true)]
    priority: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum To {
    Queue,
    Exchange,
}

impl To {
    pub(crate) fn letter(self) -> &'static str {
        if self == Self::Queue { "q" } else { "e" }
    }
}

pub(crate) fn run(declare: Declare) -> Result<(), Failure> {
    let Declare { what, vhost, access } = declare;
    let node = Node::new(access.target()?);
    let v = part(&vhost);
    let (method, path, body, text) = request(what, &vhost, &v)?;
    node.done(method, &path, Some(&body))?;
    told(&text, access.output);
    Ok(())
}

type Asked = (&'static str, String, Value, String);

fn request(what: What, vhost: &str, v: &str) -> Result<Asked, Failure> {
    let put = |path: String, body: Value, text: String| Ok(("PUT", path, body, text));
    match what {
        What::Queue { name, kind, lasting } => {
            let mut arguments = object(lasting.arguments);
            arguments.extend(kind.map(|kind| ("x-queue-type".to_owned(), Value::from(kind))));
            let body = json!({
                "durable": !lasting.transient, "auto_delete": lasting.auto_delete, "arguments": arguments,
            });
            put(format!("queues/{v}/{}", part(&name)), body, format!("queue '{name}' is in vhost '{vhost}'"))
        }
        What::Exchange { name, kind, internal, lasting } => {
            let body = json!({
                "type": kind, "durable": !lasting.transient, "auto_delete": lasting.auto_delete,
                "internal": internal, "arguments": object(lasting.arguments),
            });
            let text = format!("exchange '{name}' is in vhost '{vhost}'");
            put(format!("exchanges/{v}/{}", part(&name)), body, text)
        }
        What::Binding { source, destination, key, to, arguments } => {
            let path = format!("bindings/{v}/e/{}/{}/{}", part(&source), to.letter(), part(&destination));
            let body = json!({"routing_key": key, "arguments": object(arguments)});
            Ok(("POST", path, body, format!("'{source}' is bound to '{destination}' in vhost '{vhost}'")))
        }
        What::Virtual { name, description, tags, default_queue_type } => {
            let mut body = json!({"description": description, "tags": tags});
            if let (Some(kind), Some(fields)) = (default_queue_type, body.as_object_mut()) {
                fields.insert("default_queue_type".to_owned(), kind.into());
            }
            put(format!("vhosts/{}", part(&name)), body, format!("vhost '{name}' is there"))
        }
        What::User { name, password, password_stdin, tags } => {
            let mut body = json!({"tags": tags});
            let password = if password_stdin { Some(first_line()?) } else { password };
            if let Some(fields) = body.as_object_mut() {
                match password {
                    Some(password) => fields.insert("password".to_owned(), password.into()),
                    None => fields.insert("password_hash".to_owned(), "".into()),
                };
            }
            put(format!("users/{}", part(&name)), body, format!("user '{name}' is there"))
        }
        What::Permissions { user, configure, write, read } => {
            let body = json!({"configure": configure, "write": write, "read": read});
            let text = format!("user '{user}' has these permissions in vhost '{vhost}'");
            put(format!("permissions/{v}/{}", part(&user)), body, text)
        }
        What::TopicPermissions { user, exchange, write, read } => {
            let body = json!({"exchange": exchange, "write": write, "read": read});
            let text = format!("user '{user}' has these topic permissions in vhost '{vhost}'");
            put(format!("topic-permissions/{v}/{}", part(&user)), body, text)
        }
        What::Policy(policy) => policy_request("policies", &policy, vhost, v),
        What::OperatorPolicy(policy) => policy_request("operator-policies", &policy, vhost, v),
        What::VhostLimit { limit, value } => {
            let text = format!("{limit} of vhost '{vhost}' is {value}");
            put(format!("vhost-limits/{v}/{}", part(&limit)), json!({"value": value}), text)
        }
        What::UserLimit { user, limit, value } => {
            let text = format!("{limit} of user '{user}' is {value}");
            put(format!("user-limits/{}/{}", part(&user), part(&limit)), json!({"value": value}), text)
        }
        What::Parameter { component, name, value } => {
            let path = format!("parameters/{}/{v}/{}", part(&component), part(&name));
            let body = json!({"component": component, "vhost": vhost, "name": name, "value": value});
            put(path, body, format!("parameter '{name}' of {component} is set in vhost '{vhost}'"))
        }
        What::GlobalParameter { name, value } => {
            let body = json!({"name": name, "value": value});
            put(
                format!("global-parameters/{}", part(&name)),
                body,
                format!("global parameter '{name}' is set"),
            )
        }
    }
}

fn policy_request(kind: &str, policy: &Policy, vhost: &str, v: &str) -> Result<Asked, Failure> {
    if !policy.definition.is_object() {
        let text =
            format!("the definition of policy '{}' is no JSON object: {}", policy.name, policy.definition);
        return Err(Failure::usage(text));
    }
    let body = json!({
        "pattern": policy.pattern, "definition": policy.definition, "apply-to": policy.apply_to,
        "priority": policy.priority,
    });
    let text = format!("policy '{}' holds in vhost '{vhost}'", policy.name);
    Ok(("PUT", format!("{kind}/{v}/{}", part(&policy.name)), body, text))
}

fn object(pairs: Vec<(String, Value)>) -> Map<String, Value> {
    pairs.into_iter().collect()
}

/// JSON, or a text.
pub(crate) fn value(text: &str) -> Result<Value, String> {
    Ok(serde_json::from_str(text).unwrap_or_else(|_| Value::from(text)))
}

/// `NAME=VALUE`.
pub(crate) fn pair(text: &str) -> Result<(String, Value), String> {
    let (name, text) = text.split_once('=').ok_or("it is not of the form NAME=VALUE")?;
    Ok((name.to_owned(), value(text)?))
}

fn first_line() -> Result<String, Failure> {
    let mut line = String::new();
    std::io::stdin()
        .read_line(&mut line)
        .map_err(|error| Failure::usage(format!("the standard input: {error}")))?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}
