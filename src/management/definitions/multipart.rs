//! Files that a browser sends (RFC 7578): only as much of it as an upload of definitions needs.

/// One part of a form.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part<'a> {
    pub(super) name: String,
    pub(super) content: &'a [u8],
}

/// The word between the parts, out of the type of a body.
pub(super) fn boundary(content_type: &str) -> Option<&str> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let mut parameters = parameters.split(';').filter_map(|parameter| parameter.trim().split_once('='));
    let (_, boundary) = parameters.find(|(name, _)| name.eq_ignore_ascii_case("boundary"))?;
    Some(boundary.trim_matches('"'))
}

/// The parts of a form; what is no part is left out.
pub(super) fn parts<'a>(body: &'a [u8], boundary: &str) -> Vec<Part<'a>> {
    let delimiter = format!("--{boundary}");
    let mut places = Vec::new();
    let mut from = 0;
    while let Some(at) = body.get(from..).and_then(|rest| find(rest, delimiter.as_bytes())) {
        places.push((from + at, from + at + delimiter.len()));
        from += at + delimiter.len();
    }
    let between = places.windows(2).filter_map(|pair| match pair {
        [(_, begin), (end, _)] => body.get(*begin..*end),
        _ => None,
    });
    between.filter_map(part).collect()
}

fn part(bytes: &[u8]) -> Option<Part<'_>> {
    let bytes = bytes.strip_prefix(b"\r\n")?;
    let end = find(bytes, b"\r\n\r\n")?;
    let headers = std::str::from_utf8(bytes.get(..end)?).ok()?;
    let content = bytes.get(end + 4..)?;
    let content = content.strip_suffix(b"\r\n").unwrap_or(content);
    let disposition =
        headers.lines().find(|line| line.to_ascii_lowercase().starts_with("content-disposition:"))?;
    let name = disposition.split(';').find_map(|word| word.trim().strip_prefix("name="))?;
    Some(Part { name: name.trim_matches('"').to_owned(), content })
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORM: &[u8] = b"--xyz\r\nContent-Disposition: form-data; name=\"redirect\"\r\n\r\n../#/import\r\n--xyz\r\n\
        Content-Disposition: form-data; name=\"file\"; filename=\"a.json\"\r\nContent-Type: application/json\r\n\r\n\
        {\"users\":[]}\r\n--xyz--\r\n";

    #[test]
    fn the_parts_of_a_form_are_found_by_name() {
        let found = parts(FORM, "xyz");
        let named: Vec<_> = found.iter().map(|part| (part.name.as_str(), part.content)).collect();
        assert_eq!(named, [("redirect", b"../#/import".as_slice()), ("file", b"{\"users\":[]}".as_slice())]);
    }

    #[test]
    fn the_boundary_is_a_parameter_of_the_type() {
        assert_eq!(boundary("multipart/form-data; charset=utf-8; boundary=\"xyz\""), Some("xyz"));
        assert_eq!(boundary("application/json"), None);
        assert_eq!(boundary("application/json; boundary=x"), None);
    }

    #[test]
    fn bytes_that_are_no_form_have_no_parts() {
        assert!(parts(b"", "xyz").is_empty());
        assert!(parts(b"--xyz", "xyz").is_empty());
        assert!(parts(b"--xyz--xyz--xyz", "xyz").is_empty());
        assert!(parts(b"--xyz\r\n\r\n\r\n--xyz", "xyz").is_empty());
    }
}
