//! How a cluster stands, as a table for people.

use std::fmt::Write;

use warren::node::{ClusterStatus, GroupOverview, Member, NodeStatus};

/// What `warren cluster status` prints, without a line end behind it.
pub(crate) fn table(status: &ClusterStatus) -> String {
    let up = status.nodes.iter().filter(|node| node.is_up).count();
    let mut out = format!("cluster {}: {up} of {} nodes up\n\n", status.cluster, status.nodes.len());
    let head = ["node", "name", "address", "clients", "state", "version", "leads", "copies"];
    out += &columns(head, status.nodes.iter().map(node));
    out.push('\n');
    let head = ["group", "leader", "queues", "members", "in sync", "lag entries", "lag bytes"];
    out += &columns(head, status.groups.iter().map(|group| self::group(status, group)));
    if !status.queues.is_empty() {
        out.push('\n');
        let head = ["vhost", "queue", "group", "leader", "members", "in sync", "lag entries"];
        out += &columns(
            head,
            status.queues.iter().map(|queue| {
                let unknown = GroupOverview { group: queue.group, ..GroupOverview::default() };
                let found = status.groups.iter().find(|group| group.group == queue.group).unwrap_or(&unknown);
                let [group, leader, _, members, in_sync, lag, _] = group(status, found);
                [queue.vhost.clone(), queue.name.clone(), group, leader, members, in_sync, lag]
            }),
        );
    }
    out.truncate(out.trim_end().len());
    out
}

fn node(node: &NodeStatus) -> [String; 8] {
    let state = match node {
        NodeStatus { is_up: false, .. } => "down",
        NodeStatus { is_leaving: true, .. } => "leaving",
        NodeStatus { is_draining: true, .. } => "draining",
        _ => "up",
    };
    [
        node.node.to_string(),
        node.name.clone(),
        node.address.clone(),
        or_dash(&node.client_address),
        state.to_owned(),
        or_dash(&node.version),
        node.leads.to_string(),
        node.copies.to_string(),
    ]
}

fn group(status: &ClusterStatus, group: &GroupOverview) -> [String; 7] {
    let name = |node: u16| {
        let found = status.nodes.iter().find(|known| known.node == node);
        found.map_or_else(|| node.to_string(), |known| known.name.clone())
    };
    let number = if group.group == 0 { "0 (meta)".to_owned() } else { group.group.to_string() };
    if group.leader == 0 {
        return [&number, "nobody", "-", "-", "-", "-", "-"].map(str::to_owned);
    }
    let member = |member: &Member| match member {
        Member { gets_snapshot: true, .. } => format!("{} (gets a copy)", name(member.node)),
        Member { is_voter: false, .. } => format!("{} (new)", name(member.node)),
        _ => name(member.node),
    };
    let members: Vec<_> = group.members.iter().map(member).collect();
    let in_sync = group.in_sync().count();
    let (lag_entries, lag_bytes) = group.lag();
    [
        number,
        name(group.leader),
        group.queues.to_string(),
        members.join(", "),
        format!("{in_sync} of {}", group.members.len()),
        lag_entries.to_string(),
        lag_bytes.to_string(),
    ]
}

fn or_dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}

/// Lines with columns below each other; nothing stands behind the last one.
fn columns<const N: usize>(head: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let rows: Vec<_> = std::iter::once(head.map(str::to_owned)).chain(rows).collect();
    let widths: [usize; N] = std::array::from_fn(|column| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    });
    let mut out = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            // Writing to a string does not fail.
            let _ = write!(line, "{cell:<width$}  ");
        }
        out += line.trim_end();
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use warren::node::QueueOverview;

    fn status() -> ClusterStatus {
        let node = |node: u16, is_up| NodeStatus {
            node,
            name: format!("node{node}"),
            address: format!("127.0.0.1:{}", 35671 + node),
            client_address: format!("127.0.0.1:{}", 5671 + node),
            is_up,
            version: if is_up { "0.1.0".to_owned() } else { String::new() },
            leads: u64::from(is_up),
            copies: 2,
            ..NodeStatus::default()
        };
        let member = |node, is_voter, is_in_sync, lag_entries| Member {
            node,
            is_voter,
            is_in_sync,
            lag_entries,
            lag_bytes: lag_entries * 100,
            gets_snapshot: false,
        };
        let led = GroupOverview {
            group: 1,
            leader: 2,
            term: 3,
            commit: 9,
            queues: 4,
            members: vec![member(1, true, true, 0), member(2, true, true, 0), member(3, false, false, 12)],
            members_version: 5,
        };
        ClusterStatus {
            cluster: "00000000000000aa".to_owned(),
            asked: 1,
            copies: 3,
            nodes: vec![node(1, true), node(2, true), node(3, false)],
            groups: vec![GroupOverview::default(), led],
            queues: vec![QueueOverview { vhost: "/".to_owned(), name: "orders".to_owned(), group: 1 }],
        }
    }

    #[test]
    fn a_table_shows_nodes_groups_and_queues() {
        let expected = "\
cluster 00000000000000aa: 2 of 3 nodes up

node  name   address          clients         state  version  leads  copies
1     node1  127.0.0.1:35672  127.0.0.1:5672  up     0.1.0    1      2
2     node2  127.0.0.1:35673  127.0.0.1:5673  up     0.1.0    1      2
3     node3  127.0.0.1:35674  127.0.0.1:5674  down   -        0      2

group     leader  queues  members                    in sync  lag entries  lag bytes
0 (meta)  nobody  -       -                          -        -            -
1         node2   4       node1, node2, node3 (new)  2 of 3   12           1200

vhost  queue   group  leader  members                    in sync  lag entries
/      orders  1      node2   node1, node2, node3 (new)  2 of 3   12";
        assert_eq!(table(&status()), expected);
    }
}
