//! What differs from run to run is masked: generated names, times, ports.

/// A line without what no two runs have in common.
pub(crate) fn masked(line: &str) -> String {
    let mut line = line.to_owned();
    for prefix in ["amq.gen-", "amq.ctag-", "amq.rabbitmq.reply-to."] {
        line = behind(&line, prefix, "*", |c| c.is_ascii_alphanumeric() || "-_=+/.".contains(c));
    }
    line = behind(&line, "=T:", "*", |c| c.is_ascii_digit());
    behind(&line, "127.0.0.1:", "*", |c| c.is_ascii_digit())
}

/// Replaces what follows each `prefix`, as far as `part` says.
fn behind(line: &str, prefix: &str, mask: &str, part: impl Fn(char) -> bool) -> String {
    let mut pieces = line.split(prefix);
    let mut out = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let rest = piece.trim_start_matches(&part);
        out += prefix;
        out += if rest.len() < piece.len() { mask } else { "" };
        out += rest;
    }
    out
}
