//! The subcommands that ask a running node over its HTTP API.
//!
//! - `access`: which node, as whom; `http`: asking it; `failure`: what goes wrong
//! - `output`: tables, JSON, lines with tabs
//! - `list`, `declare`, `delete`, `messages`, `definitions`, `status`: the subcommands

mod access;
mod declare;
mod definitions;
mod delete;
mod failure;
mod http;
mod list;
mod messages;
mod output;
mod status;

use clap::{Args, Command, Subcommand};
use clap_complete::Shell;

pub(crate) use failure::{EXIT_CODES, Failure};

/// What a running node is asked.
#[derive(Debug, Subcommand)]
pub(crate) enum Ask {
    /// Shows how a running node stands
    #[command(
        after_help = "Examples:\n  warren status\n  warren status --node http://10.0.0.7:15672 -u ops --output json"
    )]
    Status(status::Status),
    /// Runs health checks; the exit code is 5 when one fails
    #[command(after_help = "Examples:\n  warren health\n  warren health local-alarms port-listener/5672")]
    Health(status::Health),
    /// Lists queues, connections, users and all other objects
    #[command(
        after_help = "Examples:\n  warren list queues --sort -messages --columns name,messages,consumers\n  \
        warren list queues --vhost prod --filter '^orders' --output json\n  warren list connections --filter user=ann"
    )]
    List(list::List),
    /// Declares a queue, exchange, binding, vhost, user, policy, ...
    #[command(
        after_help = "Examples:\n  warren declare queue orders --type quorum --argument x-delivery-limit=5\n  \
        warren declare exchange events topic\n  warren declare binding events orders --key 'order.#'\n  \
        warren declare user ann --password-stdin --tags monitoring\n  warren declare permissions ann '^ann' '.*' '.*'"
    )]
    Declare(Box<declare::Declare>),
    /// Sets a policy, permissions, a limit or a parameter
    #[command(
        after_help = "Examples:\n  warren set policy limits '^orders' '{\"max-length\": 100000}' --apply-to queues\n  \
        warren set permissions ann '^ann' '.*' '.*' --vhost prod\n  warren set vhost-limit max-queues 500\n  \
        warren set global-parameter cluster_name '\"east\"'"
    )]
    Set(Box<declare::Declare>),
    /// Deletes an object
    #[command(
        after_help = "Examples:\n  warren delete queue orders --if-empty\n  warren delete vhost test --yes\n  \
        warren delete binding events orders --key 'order.#'"
    )]
    Delete(delete::Delete),
    /// Drops all messages of a queue that are ready
    #[command(after_help = "Examples:\n  warren purge orders\n  warren purge orders --vhost test --yes")]
    Purge(delete::Purge),
    /// Closes a client's connection
    #[command(
        after_help = "Examples:\n  warren close connection '127.0.0.1:45678 -> 127.0.0.1:5672' --reason maintenance"
    )]
    Close(delete::Close),
    /// Publishes a message
    #[command(after_help = "Examples:\n  warren publish '' orders 'hello'\n  \
        warren publish events order.new --payload-file order.json --property content_type=application/json")]
    Publish(messages::Publish),
    /// Gets messages out of a queue
    #[command(
        after_help = "Examples:\n  warren get orders\n  warren get orders --count 10 --ack --output json"
    )]
    Get(messages::Get),
    /// Looks at messages of a queue without touching them
    #[command(
        after_help = "Examples:\n  warren peek orders --count 20\n  warren peek orders --offset 1000 --output json"
    )]
    Peek(messages::Peek),
    /// Moves messages to another queue
    #[command(
        name = "move",
        after_help = "Examples:\n  warren move orders parked --dry-run\n  \
        warren move orders parked --routing-key 'order.eu.*' --limit 100"
    )]
    Move(messages::Move),
    /// Sends dead letters back to the queues they came from
    #[command(
        after_help = "Examples:\n  warren redrive orders.dead --dry-run\n  warren redrive orders.dead --rate 100"
    )]
    Redrive(messages::Redrive),
    /// Writes all that is declared into a file that Warren and RabbitMQ import
    #[command(
        after_help = "Examples:\n  warren export definitions.json\n  warren export --vhost prod > prod.json"
    )]
    Export(definitions::Export),
    /// Imports definitions of Warren or RabbitMQ 3.x and 4.x, and tells what became of each object
    #[command(
        after_help = "Examples:\n  warren import definitions.json --dry-run\n  warren import prod.json --vhost test"
    )]
    Import(definitions::Import),
    /// Writes completions for a shell
    #[command(after_help = "Examples:\n  warren completions bash > /etc/bash_completion.d/warren\n  \
        warren completions zsh > ~/.zfunc/_warren\n  warren completions fish > ~/.config/fish/completions/warren.fish")]
    Completions(Completions),
}

/// The shell that completes what is typed.
#[derive(Args, Debug)]
pub(crate) struct Completions {
    #[arg(value_enum)]
    shell: Shell,
}

/// Does what is asked; `program` is the whole command line, for completions.
pub(crate) fn run(ask: Ask, program: Command) -> Result<(), Failure> {
    match ask {
        Ask::Status(asked) => status::status(&asked),
        Ask::Health(asked) => status::health(&asked),
        Ask::List(asked) => list::run(&asked),
        Ask::Declare(asked) | Ask::Set(asked) => declare::run(*asked),
        Ask::Delete(asked) => delete::run(asked),
        Ask::Purge(asked) => delete::purge(&asked),
        Ask::Close(asked) => delete::close(&asked),
        Ask::Publish(asked) => messages::publish(asked),
        Ask::Get(asked) => messages::get(&asked),
        Ask::Peek(asked) => messages::peek(&asked),
        Ask::Move(asked) => messages::move_to(&asked),
        Ask::Redrive(asked) => messages::redrive(&asked),
        Ask::Export(asked) => definitions::export(&asked),
        Ask::Import(asked) => definitions::import(&asked),
        Ask::Completions(Completions { shell }) => {
            let mut program = program;
            clap_complete::generate(shell, &mut program, "warren", &mut std::io::stdout());
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(subcommand)]
        ask: Ask,
    }

    #[test]
    fn the_names_of_objects_are_not_taken_for_who_asks() {
        for line in [
            "declare user ann --new-password x",
            "declare permissions ann",
            "set user-limit ann max-channels 5",
            "delete permissions ann",
            "delete user ann",
        ] {
            let Line { ask } = Line::try_parse_from(["warren"].into_iter().chain(line.split(' '))).unwrap();
            let shown = format!("{ask:?}");
            assert!(shown.contains("as_user: None") && shown.contains("\"ann\""), "{line}: {shown}");
        }
    }

    #[test]
    fn the_command_line_makes_sense() {
        use clap::CommandFactory;
        Line::command().debug_assert();
    }
}
