//! Logging in without a password, with a token, and after having failed (30, and what no list of behaviours has).

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::json;

use crate::support::wire::*;

const SECRET: &str = "a secret that nobody guesses";

/// A broker that takes tokens signed with the secret.
fn broker() -> Option<(Broker, tempfile::TempDir)> {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("key");
    std::fs::write(&file, SECRET).expect("a file");
    let config = format!(
        "[security.oauth2]\nresource_server_id = \"rabbitmq\"\nalgorithms = [\"HS256\"]\nleeway_s = 0\nkeys = [\"{}\"]\n",
        file.display()
    );
    Some((Broker::own_with(&config)?, folder))
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

fn token(user: &str, lives_s: u64, scopes: &str) -> String {
    let claims = json!({"sub": user, "aud": "rabbitmq", "exp": now_s() + lives_s, "scope": scopes});
    encode(&Header::default(), &claims, &EncodingKey::from_secret(SECRET.as_bytes())).expect("a token")
}

fn dial(broker: &Broker, password: String) -> Dial {
    Dial { user: "anything".to_owned(), password, ..Dial::to(broker.address()) }
}

fn update_secret(conn: &Conn, secret: &str) {
    conn.send(0, Encoder::method(10, 70).long(secret).short("it was time"));
}

const ALL: &str = "rabbitmq.configure:*/* rabbitmq.write:*/* rabbitmq.read:*/*";

#[test]
fn a_token_lets_in_and_its_scopes_are_the_rights() {
    let Some((broker, _folder)) = broker() else { return };
    let scopes = "rabbitmq.configure:%2F/q* rabbitmq.write:*/amq.default rabbitmq.read:%2F/q*";
    let conn = dial(&broker, token("ann", 60, scopes)).open();
    let ch = conn.channel(1);
    ch.queue_declare("q1").ok();
    ch.put("q1", "b");
    ch.get_soon("q1");
    let text = "ACCESS_REFUSED - configure access to queue 'r' in vhost '/' refused for user 'ann'";
    ch.queue_declare("r").expect_close(403, (50, 10), text);
    let text = "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN...";
    let mut forged = token("ann", 60, ALL);
    forged.pop();
    dial(&broker, forged).authenticated().expect_close(403, (0, 0), text);
}

#[test]
fn a_connection_ends_with_its_token() {
    let Some((broker, _folder)) = broker() else { return };
    let conn = dial(&broker, token("ann", 3, ALL)).open();
    conn.channel(1).temp_queue();
    let text = "CONNECTION_FORCED - the token of user 'ann' has expired";
    conn.expect_close(320, (0, 0), text);
}

#[test]
fn another_token_in_time_keeps_the_connection() {
    let Some((broker, _folder)) = broker() else { return };
    let conn = dial(&broker, token("ann", 3, ALL)).open();
    let ch = conn.channel(1);
    update_secret(&conn, &token("ann", 60, ALL));
    conn.next(0).method().is((10, 71));
    std::thread::sleep(std::time::Duration::from_secs(4));
    ch.temp_queue();
    update_secret(&conn, &token("bob", 60, ALL));
    conn.expect_close(530, (10, 70), "NOT_ALLOWED - New secret was refused by one of the backends");
}

// behaviour 30
#[test]
fn consumers_that_may_not_read_any_more_are_cancelled() {
    let Some((broker, _folder)) = broker() else { return };
    let conn = dial(&broker, token("ann", 60, ALL)).open();
    let ch = conn.channel(1);
    ch.queue_declare("q").ok();
    ch.queue_declare("r").ok();
    ch.consume("q", "of q").ok();
    ch.consume("r", "of r").ok();
    update_secret(&conn, &token("ann", 60, "rabbitmq.read:*/r"));
    conn.next(0).method().is((10, 71));
    let cancel = ch.next().method().is((60, 30));
    assert!(String::from_utf8_lossy(&cancel.args).contains("of q"));
    ch.quiet();
}

#[test]
fn nobody_is_anonymous_unless_that_is_configured() {
    let Some(broker) = Broker::own_with("[security]\nanonymous_user = \"guest\"\n") else { return };
    let dial = Dial::to(broker.address());
    let conn = dial.greeted();
    let start = conn.next(0).method().is((10, 10));
    assert!(String::from_utf8_lossy(&start.args).contains("PLAIN AMQPLAIN ANONYMOUS"));
    conn.start_ok("ANONYMOUS", b"", "en_US", &dial.capabilities);
    conn.next(0).method().is((10, 30));
    let other = Dial::shared();
    let conn = other.greeted();
    conn.next(0).method().is((10, 10));
    conn.start_ok("ANONYMOUS", b"", "en_US", &other.capabilities);
    conn.expect_socket_closed();
}

#[test]
fn who_fails_again_and_again_waits_and_others_do_not() {
    let Some(broker) = Broker::own() else { return };
    let wrong = Dial { password: "wrong".to_owned(), ..Dial::to(broker.address()) };
    let fail = || {
        let start = Instant::now();
        wrong.authenticated().expect_close_code(&[403]);
        start.elapsed()
    };
    let failed: Vec<_> = (0..7).map(|_| fail()).collect();
    assert!(failed[0].as_millis() < 1000, "the first attempts do not wait");
    assert!(fail().as_millis() >= 1000, "the eighth attempt waits");
    let others = Dial { user: "other".to_owned(), ..wrong.clone() };
    let start = Instant::now();
    others.authenticated().expect_close_code(&[403]);
    assert!(start.elapsed().as_millis() < 1000, "somebody else does not");
    let start = Instant::now();
    Dial::to(broker.address()).open();
    Dial::to(broker.address()).open();
    assert!(start.elapsed().as_secs() < 8, "who knows the password gets in");
}
