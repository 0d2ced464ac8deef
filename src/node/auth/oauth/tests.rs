//! Tokens: whose are taken, what they say, and where keys come from. Keys are made here; RSA keys take too long, so one of
//! them is a file that nobody else knows.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use super::*;
use crate::broker::rights::Right;
use crate::config::TokenKey;

const SECRET: &[u8] = b"a secret that nobody guesses";
const RSA: &[u8] = include_bytes!("test_keys/rsa.pem");
const RSA_PUBLIC: &[u8] = include_bytes!("test_keys/rsa.pub.pem");
/// 2020, so that all that is valid now is far ahead.
const NOW_MS: u64 = 1_577_836_800_000;
const IN_2100: u64 = 4_102_444_800;

fn config(keys: &[(&str, &[u8])]) -> Oauth2 {
    let keys = keys.iter().map(|(id, bytes)| TokenKey {
        id: (!id.is_empty()).then(|| (*id).to_owned()),
        bytes: bytes.to_vec(),
    });
    Oauth2 {
        resource_server_id: "rabbitmq".to_owned(),
        verify_audience: true,
        issuer: None,
        scope_prefix: "rabbitmq.".to_owned(),
        scopes_claim: Some("extra".to_owned()),
        user_claims: vec!["user_name".to_owned(), "sub".to_owned()],
        algorithms: ["RS256", "ES256", "EdDSA", "HS256"].map(str::to_owned).to_vec(),
        keys: keys.collect(),
        jwks_url: None,
        jwks_ca: Vec::new(),
        fetch_interval_s: 10,
        leeway_s: 0,
    }
}

fn claims() -> Value {
    json!({"aud": ["rabbitmq"], "iss": "i", "sub": "ann", "exp": IN_2100, "scope": "rabbitmq.read:*/*"})
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

fn without(name: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(name);
    claims
}

fn token(algorithm: Algorithm, id: Option<&str>, key: &EncodingKey, claims: &Value) -> Vec<u8> {
    let header = Header { kid: id.map(str::to_owned), ..Header::new(algorithm) };
    encode(&header, claims, key).unwrap().into_bytes()
}

fn hmac(claims: &Value) -> Vec<u8> {
    token(Algorithm::HS256, None, &EncodingKey::from_secret(SECRET), claims)
}

async fn refusal(oauth: &Oauth, token: &[u8]) -> String {
    oauth.identity(token, NOW_MS).await.unwrap_err().to_string()
}

#[tokio::test]
async fn a_token_says_who_somebody_is_and_may_do() {
    let oauth = Oauth::new(config(&[("", SECRET)]));
    let mut claims = with("scope", json!("rabbitmq.read:%2F/q rabbitmq.tag:monitoring other.write:*/*"));
    claims["extra"] = json!({"rabbitmq": ["write:*/w"], "other": ["configure:*/*"]});
    let identity = oauth.identity(&hmac(&claims), NOW_MS).await.unwrap();
    assert_eq!((&*identity.name, identity.tags.as_slice()), ("ann", &["monitoring".to_owned()][..]));
    assert_eq!(identity.expires_ms(), Some(IN_2100 * 1000));
    let scopes = &identity.token.unwrap().scopes;
    assert!(scopes.allow("/", Right::Read, "q") && scopes.allow("/", Right::Write, "w"));
    assert!(!scopes.allow("/", Right::Write, "q") && !scopes.allow("/", Right::Configure, "q"));
    let named = with("user_name", json!("bob"));
    assert_eq!(&*oauth.identity(&hmac(&named), NOW_MS).await.unwrap().name, "bob");
    assert_eq!(&*oauth.identity(&hmac(&without("sub")), NOW_MS).await.unwrap().name, "unknown");
}

#[tokio::test]
async fn tokens_of_others_and_of_other_times_are_refused() {
    let oauth = Oauth::new(Oauth2 { issuer: Some("i".to_owned()), ..config(&[("", SECRET)]) });
    assert!(oauth.identity(&hmac(&claims()), NOW_MS).await.is_ok());
    for (claims, reason) in [
        (with("aud", json!("other")), "InvalidAudience"),
        (without("aud"), "aud"),
        (with("iss", json!("j")), "InvalidIssuer"),
        (without("iss"), "iss"),
        (with("exp", json!(1_000_000_000)), "ExpiredSignature"),
        (without("exp"), "exp"),
        (with("exp", json!("never")), "exp"),
        (with("nbf", json!(IN_2100)), "ImmatureSignature"),
    ] {
        let refused = refusal(&oauth, &hmac(&claims)).await;
        assert!(refused.contains(reason), "{claims}: {refused}");
    }
    let lax = Oauth::new(Oauth2 { verify_audience: false, ..config(&[("", SECRET)]) });
    assert!(lax.identity(&hmac(&with("aud", json!("other"))), NOW_MS).await.is_ok());
}

#[tokio::test]
async fn signatures_are_checked_with_keys_of_their_kind() {
    let ec = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let ed = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let (ec_public, ed_public) = (ec.public_key_pem(), ed.public_key_pem());
    let keys = [("r", RSA_PUBLIC), ("e", ec_public.as_bytes()), ("d", ed_public.as_bytes()), ("s", SECRET)];
    let oauth = Oauth::new(config(&keys));
    let signers = [
        (Algorithm::RS256, "r", EncodingKey::from_rsa_pem(RSA).unwrap()),
        (Algorithm::ES256, "e", EncodingKey::from_ec_pem(ec.serialize_pem().as_bytes()).unwrap()),
        (Algorithm::EdDSA, "d", EncodingKey::from_ed_pem(ed.serialize_pem().as_bytes()).unwrap()),
        (Algorithm::HS256, "s", EncodingKey::from_secret(SECRET)),
    ];
    for (algorithm, id, key) in &signers {
        for id in [Some(*id), None] {
            let good = token(*algorithm, id, key, &claims());
            assert!(Oauth::is_token(&good));
            assert!(oauth.identity(&good, NOW_MS).await.is_ok(), "{algorithm:?} {id:?}");
        }
        let other = token(*algorithm, Some("x"), key, &claims());
        assert!(refusal(&oauth, &other).await.contains("a key that is not known"));
        let mut changed = token(*algorithm, Some(id), key, &claims());
        let at = changed.len() - 10;
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        assert!(oauth.identity(&changed, NOW_MS).await.is_err());
    }
    // A public key is no secret, though everybody could sign with it as if it were.
    let forged = token(Algorithm::HS256, Some("r"), &EncodingKey::from_secret(RSA_PUBLIC), &claims());
    assert!(oauth.identity(&forged, NOW_MS).await.is_err());
    let hs512 = token(Algorithm::HS512, None, &EncodingKey::from_secret(SECRET), &claims());
    assert!(refusal(&oauth, &hs512).await.contains("a way that is not allowed"));
    let none = b"eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbm4ifQ.";
    assert!(oauth.identity(none, NOW_MS).await.is_err());
}

#[test]
fn passwords_are_no_tokens() {
    for password in ["", "guest", "a.b.c", "eyJhbGciOiJIUzI1NiJ9", "eyJhbGciOiJIUzI1NiJ9.x"] {
        assert!(!Oauth::is_token(password.as_bytes()), "{password}");
    }
}

/// A server with a key set, which counts how often it is asked.
#[expect(clippy::disallowed_methods, reason = "a server of a test")]
fn serve(keys: Value) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/keys", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let answer = move || {
        for socket in listener.incoming() {
            let mut socket = socket.unwrap();
            let lines = BufReader::new(socket.try_clone().unwrap()).lines();
            lines.map_while(Result::ok).take_while(|line| !line.is_empty()).for_each(drop);
            counter.fetch_add(1, Ordering::SeqCst);
            let body = keys.to_string();
            let head =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            socket.write_all(format!("{head}{body}").as_bytes()).unwrap();
        }
    };
    std::thread::spawn(answer);
    (url, asked)
}

fn public_key(id: &str, key: &EncodingKey, algorithm: Algorithm) -> Value {
    let mut jwk = Jwk::from_encoding_key(key, algorithm).unwrap();
    jwk.common.key_id = Some(id.to_owned());
    serde_json::to_value(jwk).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_fetched_when_a_token_names_one_that_is_not_known() {
    let rsa = EncodingKey::from_rsa_pem(RSA).unwrap();
    let odd = json!({"kty": "XYZ", "kid": "odd"});
    let (url, asked) = serve(json!({"keys": [odd, public_key("r", &rsa, Algorithm::RS256)]}));
    let oauth = Oauth::new(Oauth2 { jwks_url: Some(url), ..config(&[]) });
    let good = token(Algorithm::RS256, Some("r"), &rsa, &claims());
    let unknown = token(Algorithm::RS256, Some("x"), &rsa, &claims());
    assert!(oauth.identity(&good, NOW_MS).await.is_ok());
    assert!(oauth.identity(&good, NOW_MS + 60_000).await.is_ok());
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    for _ in 0..20 {
        assert!(oauth.identity(&unknown, NOW_MS + 20_000).await.is_err());
    }
    assert_eq!(asked.load(Ordering::SeqCst), 2, "not more often than allowed");
    assert!(oauth.identity(&unknown, NOW_MS + 30_000).await.is_err());
    assert_eq!(asked.load(Ordering::SeqCst), 3);
    assert!(oauth.identity(&good, NOW_MS + 2 * 3_600_000).await.is_ok());
    assert_eq!(asked.load(Ordering::SeqCst), 4, "keys may have been taken back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_everybody_can_fetch_is_no_key() {
    let secret = json!({"kty": "oct", "kid": "s", "k": "YSBzZWNyZXQgdGhhdCBub2JvZHkgZ3Vlc3Nlcw"});
    let (url, _) = serve(json!({"keys": [secret]}));
    let oauth = Oauth::new(Oauth2 { jwks_url: Some(url), ..config(&[]) });
    let signed = token(Algorithm::HS256, Some("s"), &EncodingKey::from_secret(SECRET), &claims());
    assert!(refusal(&oauth, &signed).await.contains("a key that is not known"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_answer_is_asked_again_later() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/keys", listener.local_addr().unwrap());
    drop(listener);
    let oauth = Oauth::new(Oauth2 { jwks_url: Some(url), ..config(&[("own", SECRET)]) });
    let own = token(Algorithm::HS256, Some("own"), &EncodingKey::from_secret(SECRET), &claims());
    let other = token(Algorithm::HS256, Some("x"), &EncodingKey::from_secret(SECRET), &claims());
    assert!(refusal(&oauth, &other).await.contains("a key that is not known"));
    assert!(oauth.identity(&own, NOW_MS).await.is_ok(), "own keys need nobody");
}
