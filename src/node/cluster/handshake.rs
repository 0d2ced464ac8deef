//! What two ends of a connection say before anything else: who they are, and that they know the secret.
//!
//! ```text
//! dialer                     acceptor
//! Hello     -->                          who I am, whom I want, what for, 32 random bytes
//!           <-- Challenge (or Refusal)   who I am, 32 random bytes
//! Proof     -->                          HMAC-SHA256(secret, "dialer" and all of both)
//!           <-- Proof (or Refusal)       HMAC-SHA256(secret, "acceptor" and all of both)
//! ```
//!
//! Each is a frame: length (u32), magic, version (u16), kind (u8), content. The part up to the kind, and a refusal as text, stay
//! what they are in all versions, so that a node can say to every other one why they do not fit.

use ring::hmac;

use crate::broker::ids::NodeId;

/// The version of this and of all messages behind it.
pub(crate) const VERSION: u16 = 2;

/// No frame of a handshake is longer.
pub(crate) const FRAME_MAX: usize = 4096;

const MAGIC: &[u8; 8] = b"WARRENPL";
const HEAD: usize = MAGIC.len() + 3;

const REFUSAL: u8 = 0;
const HELLO: u8 = 1;
const CHALLENGE: u8 = 2;
const PROOF: u8 = 3;

/// Random bytes that a proof cannot have seen before.
pub(crate) type Nonce = [u8; 32];

/// Who an end of a connection is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The cluster's name; empty where it is not known yet.
    pub(crate) cluster: String,
    /// 0 for who is no member.
    pub(crate) node: NodeId,
    pub(crate) name: String,
    /// Which run of the process.
    pub(crate) run: u64,
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Messages in both directions.
    Link,
    /// Nothing: the dialer is there, and the other end, whose part it is, may connect.
    Call,
    /// One question, one answer.
    Request,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    pub(crate) purpose: Purpose,
    pub(crate) from: Identity,
    /// The node that is expected at the other end; 0 for any.
    pub(crate) to: NodeId,
    /// Ascends with each connection of a run.
    pub(crate) attempt: u64,
    pub(crate) nonce: Nonce,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Challenge {
    pub(crate) from: Identity,
    pub(crate) nonce: Nonce,
}

/// Which end proves that it knows the secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Dialer,
    Acceptor,
}

/// Why two nodes do not come together, in words for both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unfit(pub(crate) String);

impl Hello {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = head(HELLO);
        out.push(match self.purpose {
            Purpose::Link => 1,
            Purpose::Call => 2,
            Purpose::Request => 3,
        });
        put_identity(&mut out, &self.from);
        out.extend_from_slice(&self.to.to_le_bytes());
        out.extend_from_slice(&self.attempt.to_le_bytes());
        out.extend_from_slice(&self.nonce);
        out
    }

    /// # Errors
    /// When it is none of this version.
    pub(crate) fn decode(frame: &[u8]) -> Result<Self, Unfit> {
        let mut rest = content(frame, HELLO)?;
        let hello = (|| {
            let purpose = match take::<1>(&mut rest)? {
                [1] => Purpose::Link,
                [2] => Purpose::Call,
                [3] => Purpose::Request,
                _ => return None,
            };
            let from = take_identity(&mut rest)?;
            let to = u16::from_le_bytes(take(&mut rest)?);
            let attempt = u64::from_le_bytes(take(&mut rest)?);
            Some(Self { purpose, from, to, attempt, nonce: take(&mut rest)? })
        })();
        hello.filter(|_| rest.is_empty()).ok_or_else(garbled)
    }
}

impl Challenge {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = head(CHALLENGE);
        put_identity(&mut out, &self.from);
        out.extend_from_slice(&self.nonce);
        out
    }

    /// # Errors
    /// When it is none of this version, or a refusal: then with its words.
    pub(crate) fn decode(frame: &[u8]) -> Result<Self, Unfit> {
        let mut rest = content(frame, CHALLENGE)?;
        let challenge = (|| Some(Self { from: take_identity(&mut rest)?, nonce: take(&mut rest)? }))();
        challenge.filter(|_| rest.is_empty()).ok_or_else(garbled)
    }
}

/// The proof of an end, from the frames of both.
pub(crate) fn proof(secret: &[u8], end: End, hello: &[u8], challenge: &[u8]) -> Vec<u8> {
    let tag = hmac::sign(&key(secret), &transcript(end, hello, challenge));
    let mut out = head(PROOF);
    out.extend_from_slice(tag.as_ref());
    out
}

/// # Errors
/// When the other end does not know the secret, or refuses: then with its words.
pub(crate) fn check_proof(
    frame: &[u8],
    secret: &[u8],
    end: End,
    hello: &[u8],
    challenge: &[u8],
) -> Result<(), Unfit> {
    let tag = content(frame, PROOF)?;
    hmac::verify(&key(secret), &transcript(end, hello, challenge), tag)
        .map_err(|_| Unfit("the two nodes have different secrets (cluster.secret)".to_owned()))
}

/// The words for the other end, and that it is over.
pub(crate) fn refusal(text: &str) -> Vec<u8> {
    let mut out = head(REFUSAL);
    let text = cut(text, FRAME_MAX / 2);
    out.extend_from_slice(text.as_bytes());
    out
}

/// Whether a dialer of this cluster, who wants this node, is right here.
///
/// # Errors
/// Why not.
pub(crate) fn check_hello(hello: &Hello, own: &Identity) -> Result<(), Unfit> {
    check_cluster(&hello.from, own, hello.purpose)?;
    if hello.to != 0 && hello.to != own.node {
        return Err(Unfit(format!("this is node {} ({}), not node {}", own.node, own.name, hello.to)));
    }
    Ok(())
}

/// Whether the acceptor is whom the dialer expects.
///
/// # Errors
/// Why not.
pub(crate) fn check_challenge(challenge: &Challenge, hello: &Hello) -> Result<(), Unfit> {
    check_cluster(&hello.from, &challenge.from, hello.purpose)?;
    if hello.to != 0 && hello.to != challenge.from.node {
        let (node, name) = (challenge.from.node, &challenge.from.name);
        return Err(Unfit(format!("expected node {}, found node {node} ({name})", hello.to)));
    }
    Ok(())
}

/// Who only asks need not know the cluster yet.
fn check_cluster(dialer: &Identity, acceptor: &Identity, purpose: Purpose) -> Result<(), Unfit> {
    let may_differ =
        purpose == Purpose::Request && (dialer.cluster.is_empty() || acceptor.cluster.is_empty());
    if may_differ || dialer.cluster == acceptor.cluster {
        return Ok(());
    }
    Err(Unfit(format!(
        "node {} is of the cluster \"{}\", node {} of the cluster \"{}\"",
        dialer.name, dialer.cluster, acceptor.name, acceptor.cluster
    )))
}

fn key(secret: &[u8]) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, secret)
}

/// The lengths keep the two frames apart.
fn transcript(end: End, hello: &[u8], challenge: &[u8]) -> Vec<u8> {
    let label: &[u8] = match end {
        End::Dialer => b"dialer  ",
        End::Acceptor => b"acceptor",
    };
    let lengths = [hello.len() as u64, challenge.len() as u64].map(u64::to_le_bytes);
    [label, lengths.as_flattened(), hello, challenge].concat()
}

fn head(kind: u8) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.push(kind);
    out
}

/// What is behind the head of a frame of this kind.
fn content(frame: &[u8], kind: u8) -> Result<&[u8], Unfit> {
    let (head, content) = frame.split_first_chunk::<HEAD>().ok_or_else(garbled)?;
    let (magic, [low, high, found]) = head
        .split_first_chunk::<8>()
        .and_then(|(magic, rest)| Some((magic, rest.first_chunk::<3>()?)))
        .ok_or_else(garbled)?;
    if magic != MAGIC {
        return Err(garbled());
    }
    if *found == REFUSAL {
        return Err(Unfit(format!("the other node says: {}", String::from_utf8_lossy(content))));
    }
    let version = u16::from_le_bytes([*low, *high]);
    if version != VERSION {
        return Err(Unfit(format!(
            "the protocols of the two nodes differ: version {VERSION} here, version {version} there; \
             all nodes of a cluster must be of releases with the same one"
        )));
    }
    if *found == kind { Ok(content) } else { Err(garbled()) }
}

fn garbled() -> Unfit {
    Unfit("what the other end says is nothing that a node of Warren says (is the address right, and TLS set on both?)".to_owned())
}

fn put_identity(out: &mut Vec<u8>, identity: &Identity) {
    put_text(out, &identity.cluster);
    out.extend_from_slice(&identity.node.to_le_bytes());
    put_text(out, &identity.name);
    out.extend_from_slice(&identity.run.to_le_bytes());
}

fn take_identity(from: &mut &[u8]) -> Option<Identity> {
    Some(Identity {
        cluster: take_text(from)?,
        node: u16::from_le_bytes(take(from)?),
        name: take_text(from)?,
        run: u64::from_le_bytes(take(from)?),
    })
}

/// Names are cut after 255 bytes.
fn put_text(out: &mut Vec<u8>, text: &str) {
    let text = cut(text, 255);
    out.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(text.as_bytes());
}

fn take_text(from: &mut &[u8]) -> Option<String> {
    let [length] = take(from)?;
    let (text, rest) = from.split_at_checked(usize::from(length))?;
    *from = rest;
    Some(std::str::from_utf8(text).ok()?.to_owned())
}

fn take<const N: usize>(from: &mut &[u8]) -> Option<[u8; N]> {
    let (value, rest) = from.split_first_chunk::<N>()?;
    *from = rest;
    Some(*value)
}

/// The front of a text: so many bytes at most, whole characters.
fn cut(text: &str, bytes_max: usize) -> &str {
    let end = (0..=bytes_max.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or(0)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hello(name: &str) -> Hello {
        let from = Identity { cluster: "c".to_owned(), node: 3, name: name.to_owned(), run: 9 };
        Hello { purpose: Purpose::Link, from, to: 4, attempt: 5, nonce: [6; 32] }
    }

    fn challenge(nonce: u8) -> Challenge {
        let from = Identity { cluster: "c".to_owned(), node: 4, name: "four".to_owned(), run: 8 };
        Challenge { from, nonce: [nonce; 32] }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(kind in 0..5u8, bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut frame = head(kind);
            frame.extend_from_slice(&bytes);
            for frame in [&frame, &bytes] {
                let _ = (Hello::decode(frame), Challenge::decode(frame));
                prop_assert!(check_proof(frame, b"secret", End::Dialer, b"hello", b"challenge").is_err());
            }
        }

        #[test]
        fn what_is_said_is_heard(name in ".{0,200}", at in any::<prop::sample::Index>()) {
            let name = cut(&name, 255);
            let frame = hello(name).encode();
            prop_assert_eq!(Hello::decode(&frame), Ok(hello(name)));
            prop_assert!(Hello::decode(&frame[..at.index(frame.len())]).is_err());
            prop_assert!(frame.len() <= FRAME_MAX);
        }
    }

    #[test]
    fn a_proof_is_of_one_end_one_secret_and_one_handshake() {
        let (said, heard) = (hello("a").encode(), challenge(1).encode());
        let frame = proof(b"secret", End::Dialer, &said, &heard);
        assert_eq!(check_proof(&frame, b"secret", End::Dialer, &said, &heard), Ok(()));
        let others = [
            check_proof(&frame, b"secret", End::Acceptor, &said, &heard),
            check_proof(&frame, b"Secret", End::Dialer, &said, &heard),
            check_proof(&frame, b"secret", End::Dialer, &hello("b").encode(), &heard),
            check_proof(&frame, b"secret", End::Dialer, &said, &challenge(2).encode()),
            // The same bytes, cut elsewhere.
            check_proof(
                &frame,
                b"secret",
                End::Dialer,
                &said[..said.len() - 1],
                &[&said[said.len() - 1..], &heard].concat(),
            ),
        ];
        assert!(others.iter().all(Result::is_err), "{others:?}");
    }

    #[test]
    fn only_who_asks_need_not_know_the_cluster() {
        let own = challenge(1).from;
        let mut stranger = hello("new");
        stranger.from.cluster.clear();
        assert!(check_hello(&stranger, &own).is_err());
        stranger.purpose = Purpose::Request;
        assert_eq!(check_hello(&stranger, &own), Ok(()));
        stranger.from.cluster = "other".to_owned();
        assert!(check_hello(&stranger, &own).is_err());
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!((cut("aäb", 2), cut("aäb", 3), cut("ab", 9)), ("a", "aä", "ab"));
        let words = refusal(&"ä".repeat(FRAME_MAX));
        assert!(words.len() <= FRAME_MAX);
        assert!(Challenge::decode(&words).unwrap_err().0.starts_with("the other node says: ä"));
    }
}
