//! Connections, channels and consumers.

use super::http::Http;
use crate::support::broker::Broker;
use crate::support::wait::eventually;

fn name(http: &Http) -> String {
    eventually("the connection to be listed", || {
        let list = http.get("/connections").body;
        list[0]["name"].as_str().map(str::to_owned)
    })
}

fn quoted(name: &str) -> String {
    name.replace(' ', "%20").replace('>', "%3E")
}

#[test]
fn a_connection_is_listed_by_its_name_with_its_channels_and_consumers() {
    let Some(broker) = Broker::own() else { return };
    let http = Http::of(&broker);
    let connection = broker.connect();
    let channel = connection.channel(1);
    channel.queue_declare("q").ok();
    channel.consume("q", "tag").ok();
    let name = name(&http);
    assert!(name.contains(" -> 127.0.0.1:"), "{name}");
    let shown = http.get(&format!("/connections/{}", quoted(&name))).body;
    for (field, value) in
        [("user", "guest"), ("vhost", "/"), ("protocol", "AMQP 0-9-1"), ("state", "running")]
    {
        assert_eq!(shown[field], value, "{field}");
    }
    for field in ["timeout", "frame_max", "channel_max", "channels", "peer_port", "recv_oct", "connected_at"]
    {
        assert!(shown[field].is_number(), "{field}");
    }
    assert!(shown["client_properties"].is_object());
    let channels = eventually("the channel to be listed", || {
        let list = http.get(&format!("/connections/{}/channels", quoted(&name))).body;
        (list.as_array().is_some_and(|list| list.len() == 1)).then_some(list)
    });
    assert_eq!(channels[0]["name"], format!("{name} (1)"));
    assert_eq!(channels[0]["connection_details"]["name"], name);
    let channel = http.get(&format!("/channels/{}", quoted(&format!("{name} (1)")))).body;
    assert_eq!((&channel["number"], &channel["user"]), (&1.into(), &"guest".into()));
    let consumers = eventually("the consumer to be listed", || {
        let list = http.get("/consumers/%2F").body;
        (list.as_array().is_some_and(|list| list.len() == 1)).then_some(list)
    });
    assert_eq!((&consumers[0]["consumer_tag"], &consumers[0]["queue"]["name"]), (&"tag".into(), &"q".into()));
    assert_eq!(http.get("/queues/%2F/q").body["consumer_details"][0]["consumer_tag"], "tag");
}

#[test]
fn a_connection_is_closed_with_320_and_the_reason_given() {
    let Some(broker) = Broker::own() else { return };
    let http = Http::of(&broker);
    for (headers, reason) in [
        (&[][..], "CONNECTION_FORCED - Closed via management plugin"),
        (&[("x-reason", "go away")][..], "CONNECTION_FORCED - go away"),
    ] {
        let connection = broker.connect();
        let name = name(&http);
        let closed = http.send("DELETE", &format!("/connections/{}", quoted(&name)), "", headers);
        assert_eq!(closed.status, 204);
        connection.expect_close(320, (0, 0), reason);
        eventually("the connection to be gone", || {
            (http.get("/connections").body.as_array().is_some_and(Vec::is_empty)).then_some(())
        });
        assert_eq!(http.delete(&format!("/connections/{}", quoted(&name))).status, 404);
    }
}

#[test]
fn a_user_sees_and_closes_its_own_connections_only() {
    let Some(broker) = Broker::own() else { return };
    let http = Http::of(&broker);
    let _connection = broker.connect();
    let name = name(&http);
    let other = http.user("other", "management");
    assert!(other.get("/connections").body.as_array().expect("a list").is_empty());
    assert_eq!(other.delete(&format!("/connections/{}", quoted(&name))).status, 401);
    let watcher = http.user("watcher", "monitoring");
    assert_eq!(watcher.get("/connections").body.as_array().expect("a list").len(), 1);
    assert_eq!(watcher.delete(&format!("/connections/{}", quoted(&name))).status, 401);
}
