//! A record's body, cut into names and values. See auditsvc/record/fields.py, which has this too.

fn is_space(byte: u8) -> bool {
    byte == b' ' || byte == 0x1d
}

/// Gives names and raw values in order; words have None.
fn split<'a>(body: &'a [u8], each: &mut impl FnMut(&'a [u8], Option<&'a [u8]>)) {
    let mut at = 0;
    let mut ends = Ends::new(body);
    loop {
        at += body[at..].iter().take_while(|&&byte| is_space(byte)).count();
        let begin = at;
        at += body[at..].iter().take_while(|&&byte| !is_space(byte) && byte != b'=').count();
        let name = &body[begin..at];
        if body.get(at) == Some(&b'=') {
            let (end, next) = ends.value(name, at + 1);
            each(&name[ends.relayed(begin)..], Some(&body[at + 1..end]));
            at = next;
        } else if name.is_empty() {
            return;
        } else {
            each(name, None);
        }
    }
}

/// Forms of the 0x1d before enriched fields after other programs relayed the line.
const RELAYED: [&[u8]; 8] =
    [b"#035", b"\\x1d", b"\\x1D", b"\\035", b"^]", b"\\u001d", b"\\u001D", b"\xef\xbf\xbd"];

/// The length of such a form at the beginning of a text; 0 if there is none.
fn relayed(text: &[u8]) -> usize {
    if !matches!(text.first(), Some(b'#' | b'\\' | b'^' | 0xef)) {
        return 0;
    }
    RELAYED.iter().find(|form| text.starts_with(form)).map_or(0, |form| form.len())
}

/// The text without such a form at its end.
pub fn without_relayed(text: &[u8]) -> &[u8] {
    RELAYED.iter().find_map(|form| text.strip_suffix(*form)).unwrap_or(text)
}

/// Finds the ends of values; remembers missing ends, so that none is searched twice.
struct Ends<'a> {
    body: &'a [u8],
    /// No brace that opens before this position has an end.
    unended: usize,
    /// The first separator behind the value that was asked for last.
    blank: usize,
    has_quotes: bool,
    is_enriched: Option<bool>,
}

impl<'a> Ends<'a> {
    fn new(body: &'a [u8]) -> Self {
        Ends { body, unended: 0, blank: 0, has_quotes: true, is_enriched: None }
    }

    /// The length of what a relay made of the 0x1d before the enriched name that begins here.
    #[inline]
    fn relayed(&mut self, begin: usize) -> usize {
        match relayed(&self.body[begin..]) {
            length
                if length > 0 && is_enriched(&self.body[begin + length..]) && !self.has_0x1d() =>
            {
                length
            }
            _ => 0,
        }
    }

    fn has_0x1d(&mut self) -> bool {
        let body = self.body;
        *self.is_enriched.get_or_insert_with(|| memchr::memchr(0x1d, body).is_some())
    }

    /// The end of the value that begins at `start`, and the beginning of the next token.
    #[inline]
    fn value(&mut self, name: &[u8], start: usize) -> (usize, usize) {
        let rest = &self.body[start..];
        let end = match rest.first() {
            Some(b'"') => memchr::memchr(b'"', &rest[1..]).map(|quote| start + quote + 2),
            Some(b'{' | b'\'') => self.marked(start),
            _ => {
                // A value nearly never holds what would begin another field.
                let length = memchr::memchr3(b' ', 0x1d, b'=', rest).unwrap_or(rest.len());
                let end = start + length;
                if rest.get(length) == Some(&b'=')
                    || name.starts_with(b"subj")
                    || name.starts_with(b"obj")
                {
                    return self.unusual(name, start);
                }
                Some(end)
            }
        };
        match end {
            Some(end) => (end, end),
            None => self.unusual(name, start),
        }
    }

    /// The end of `{ text }` or 'text'; None where it has none.
    #[cold]
    fn marked(&mut self, start: usize) -> Option<usize> {
        let rest = &self.body[start..];
        if rest[0] == b'{' {
            if rest.get(1) != Some(&b' ') || start < self.unended {
                return None;
            }
            let text = &rest[2..];
            let end = memchr::memchr2(b'}', 0x1d, text).unwrap_or(text.len());
            if text.get(end) == Some(&b'}') {
                return Some(start + end + 3);
            }
            self.unended = start + 2 + end;
        } else if self.has_quotes {
            match memchr::memchr(b'\'', &rest[1..]) {
                Some(quote) if rest.get(quote + 2).is_none_or(|&byte| is_space(byte)) => {
                    return Some(start + quote + 2);
                }
                Some(_) => {}
                None => self.has_quotes = false,
            }
        }
        None
    }

    /// The first separator from `start` on. A value may hold very many fields without one.
    fn blank(&mut self, start: usize) -> usize {
        if self.blank <= start {
            let rest = &self.body[start..];
            self.blank = start + memchr::memchr2(b' ', 0x1d, rest).unwrap_or(rest.len());
        }
        self.blank
    }

    /// The same of a value that ends at a divider: a label's mode, an enriched name inside.
    fn unusual(&mut self, name: &[u8], start: usize) -> (usize, usize) {
        let rest = &self.body[start..];
        let end = self.blank(start);
        if rest.first() == Some(&b'\'') {
            return (end, end);
        }
        if is_label(name) {
            let end = end + mode(&self.body[end..]);
            return (end, end);
        }
        if !matches!(rest.first(), None | Some(b'"' | b'{')) {
            if let Some(glued) = self.glued(start, end) {
                return glued;
            }
        }
        (end, end)
    }

    /// The beginning of an enriched field without its 0x1d.
    fn glued(&mut self, start: usize, end: usize) -> Option<(usize, usize)> {
        let value = &self.body[start..end];
        let equals = memchr::memchr(b'=', value)?;
        if equals == 0 && memchr::memchr(b'=', &value[1..]).is_none() {
            return None;
        }
        let body = self.body;
        if self.has_0x1d() {
            return None;
        }
        (start + 1..end).find_map(|at| {
            let text = &body[at..];
            let length = relayed(text);
            is_enriched(&text[length..]).then_some((at, at + length))
        })
    }
}

/// Whether the text begins with the name of one of auditd's enriched fields, and its value.
fn is_enriched(text: &[u8]) -> bool {
    const ACCOUNTS: [&[u8]; 19] = [
        b"OLD-UID",
        b"FSUID",
        b"SUID",
        b"EUID",
        b"OAUID",
        b"AUID",
        b"OUID",
        b"IUID",
        b"INODE_UID",
        b"UID",
        b"FSGID",
        b"SGID",
        b"EGID",
        b"OGID",
        b"IGID",
        b"INODE_GID",
        b"NEW_GID",
        b"GID",
        b"OLD-AUID",
    ];
    if !text.first().is_some_and(u8::is_ascii_uppercase) {
        return false;
    }
    let is_followed = |name: &[u8], by: fn(u8) -> bool| {
        let rest = text.strip_prefix(name).and_then(|rest| rest.strip_prefix(b"="));
        rest.is_some_and(|rest| rest.first().is_some_and(|&byte| by(byte)))
    };
    is_followed(b"SADDR", |byte| byte == b'{')
        || is_followed(b"ARCH", |byte| byte.is_ascii_lowercase())
        || is_followed(b"SYSCALL", |byte| byte.is_ascii_lowercase())
        || ACCOUNTS.iter().any(|name| is_followed(name, |byte| byte == b'"'))
}

/// Whether this is a name of auditd's enriched fields, or like one.
fn is_enriched_name(name: &[u8]) -> bool {
    let is_of_id = |&byte: &u8| byte.is_ascii_uppercase() || byte == b'_' || byte == b'-';
    matches!(name, b"ID" | b"ARCH" | b"SYSCALL" | b"SADDR")
        || (name.ends_with(b"UID") || name.ends_with(b"GID")) && name.iter().all(is_of_id)
}

/// subj, obj, subj_apparmor ...
fn is_label(name: &[u8]) -> bool {
    let Some(rest) = name.strip_prefix(b"subj").or(name.strip_prefix(b"obj")) else { return false };
    rest.is_empty()
        || rest
            .strip_prefix(b"_")
            .is_some_and(|lsm| !lsm.is_empty() && lsm.iter().all(u8::is_ascii_lowercase))
}

/// Length of ` (enforce)` or similar text at the beginning, behind further words of a profile's
/// name; 0 if there is none.
fn mode(text: &[u8]) -> usize {
    let mut at = 0;
    loop {
        let Some(rest) = text[at..].strip_prefix(b" ") else { return 0 };
        if rest.first() == Some(&b'(') {
            let length = mode_alone(&text[at..]);
            return if length > 0 { at + length } else { 0 };
        }
        let is_of_name = |&&byte: &&u8| !is_space(byte) && byte != b'=' && byte != b'(';
        let word = rest.iter().take_while(is_of_name).count();
        if word == 0 {
            return 0;
        }
        at += 1 + word;
    }
}

fn mode_alone(text: &[u8]) -> usize {
    let Some(rest) = text.strip_prefix(b" (") else { return 0 };
    let length = rest.iter().take_while(|byte| byte.is_ascii_lowercase()).count();
    let ends =
        rest.get(length) == Some(&b')') && rest.get(length + 1).is_none_or(|&byte| is_space(byte));
    if length > 0 && ends { length + 3 } else { 0 }
}

/// Gives names and raw values in order, also those within `msg='...'`; words have None.
pub fn tokens<'a>(body: &'a [u8], each: &mut impl FnMut(&'a [u8], Option<&'a [u8]>)) {
    const MESSAGE: &[u8] = b" msg='";
    // Behind a space: a label or another value may end with these letters.
    let start = if body.starts_with(&MESSAGE[1..]) {
        Some((0, MESSAGE.len() - 1))
    } else {
        memchr::memmem::find(body, MESSAGE).map(|space| (space + 1, space + MESSAGE.len()))
    };
    let quoted = start.and_then(|(start, inside)| {
        let length = memchr::memrchr(b'\'', &body[inside..])?;
        Some((start, inside, inside + length))
    });
    let Some((start, inside, end)) = quoted else { return split(body, each) };
    split(&body[..start], each);
    split(&body[inside..end], &mut |name, value: Option<&'a [u8]>| match value {
        None => each(name, None),
        // auditd writes these behind the message: a program must not say who it was.
        Some(value) if is_enriched_name(name.strip_prefix(b"(").unwrap_or(name)) => {
            let begin = name.as_ptr() as usize - body.as_ptr() as usize;
            each(&body[begin..begin + name.len() + 1 + value.len()], None);
        }
        Some(value) => {
            let value = value.strip_suffix(b":").unwrap_or(value);
            let mut value = value.strip_suffix(b",").unwrap_or(value);
            if !value.contains(&b'(') {
                value = value.strip_suffix(b")").unwrap_or(value);
            }
            each(name.strip_prefix(b"(").unwrap_or(name), Some(value));
        }
    });
    split(&body[end + 1..], each);
}
