//! A record's body -> its fields. See auditsvc/record/fields.py.

use std::borrow::Cow;
use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::text::{push_json, to_text};
use super::types::{AVC, EXECVE, LANDLOCK_ACCESS, LOGIN, USER_AVC};

type Text<'a> = Cow<'a, str>;

/// `value` is None for a `(null)` of encoded kind.
#[derive(Clone)]
pub struct Field<'a> {
    pub name: &'a [u8],
    pub value: Option<Cow<'a, [u8]>>,
}

/// Decimal digits, at most 20 of them, of a number of 64 bits, signed or not.
pub fn to_int(value: Option<&[u8]>) -> Option<i128> {
    let value = value?;
    let (negative, digits) = match value.strip_prefix(b"-") {
        Some(digits) => (true, digits),
        None => (false, value),
    };
    if digits.is_empty() || digits.len() > 20 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let size = digits.iter().fold(0i128, |number, digit| number * 10 + i128::from(digit - b'0'));
    let number = if negative { -size } else { size };
    (-(1 << 63)..1 << 64).contains(&number).then_some(number)
}

/// The signed 64-bit number with the same bits as a result of `to_int`.
pub fn signed(number: i128) -> i64 {
    number as i64
}

fn is_encoded(record_type: i32, name: &[u8]) -> bool {
    if record_type == EXECVE {
        return is_argument(name);
    }
    if matches!(record_type, AVC | 1500..=1507) {
        match name {
            // An IPC's key, which older kernels print in decimal.
            b"key" if record_type == AVC => return false,
            b"addr" | b"dev" | b"fstype" | b"info" | b"key_desc" | b"kmod" | b"label"
            | b"namespace" | b"options" | b"peer" | b"peer_addr" | b"profile" | b"srawcon"
            | b"srcname" | b"target" | b"trans" | b"trawcon" => return true,
            _ => {}
        }
    }
    match name {
        b"acct" | b"cgroup" | b"cmd" | b"comm" | b"cwd" | b"data" | b"device" | b"dir" | b"exe"
        | b"file" | b"grp" | b"invalid_context" | b"key" | b"name" | b"new-chardev"
        | b"new-disk" | b"new-fs" | b"new-net" | b"new-rng" | b"new_group" | b"ocomm"
        | b"old-chardev" | b"old-disk" | b"old-fs" | b"old-net" | b"old-rng" | b"path"
        | b"proctitle" | b"root_dir" | b"sw" | b"vm" | b"watch" => true,
        b"dev" => record_type == LANDLOCK_ACCESS,
        _ => false,
    }
}

/// `aN` or `aN[M]`.
fn is_argument(name: &[u8]) -> bool {
    let Some(rest) = name.strip_prefix(b"a") else { return false };
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits == 0 {
        return false;
    }
    let rest = &rest[digits..];
    rest.is_empty()
        || rest
            .strip_prefix(b"[")
            .and_then(|rest| rest.strip_suffix(b"]"))
            .is_some_and(|number| !number.is_empty() && number.iter().all(u8::is_ascii_digit))
}

/// Hex of at least one byte.
fn unhex(value: &[u8]) -> Option<Vec<u8>> {
    fn digit(byte: u8) -> Option<u8> {
        match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'A'..=b'F' => Some(byte - b'A' + 10),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        }
    }
    if value.is_empty() || value.len() & 1 != 0 {
        return None;
    }
    value.chunks_exact(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

/// Decodes a raw value of a record.
pub fn decode_value<'a>(record_type: i32, name: &[u8], value: &'a [u8]) -> Option<Cow<'a, [u8]>> {
    if let [b'"', inner @ .., b'"'] | [b'\'', inner @ .., b'\''] = value {
        return Some(Cow::Borrowed(inner));
    }
    if is_encoded(record_type, name) {
        if value == b"(null)" {
            return None;
        }
        if let Some(data) = unhex(value) {
            return Some(Cow::Owned(data));
        }
    }
    Some(Cow::Borrowed(value))
}

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
    has_quotes: bool,
    is_enriched: Option<bool>,
}

impl<'a> Ends<'a> {
    fn new(body: &'a [u8]) -> Self {
        Ends { body, unended: 0, has_quotes: true, is_enriched: None }
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

    /// The same of a value that ends at a divider: a label's mode, an enriched name inside.
    fn unusual(&mut self, name: &[u8], start: usize) -> (usize, usize) {
        let rest = &self.body[start..];
        let end = start + memchr::memchr2(b' ', 0x1d, rest).unwrap_or(rest.len());
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

fn tokens<'a>(body: &'a [u8], each: &mut impl FnMut(&'a [u8], Option<&'a [u8]>)) {
    const MESSAGE: &[u8] = b"msg='";
    let start = memchr::memmem::find(body, MESSAGE)
        .filter(|&start| start == 0 || body[start - 1] == b' ')
        .map(|start| (start, start + MESSAGE.len()));
    let quoted = start.and_then(|(start, inside)| {
        let length = memchr::memrchr(b'\'', &body[inside..])?;
        Some((start, inside, inside + length))
    });
    let Some((start, inside, end)) = quoted else { return split(body, each) };
    split(&body[..start], each);
    split(&body[inside..end], &mut |name, value: Option<&'a [u8]>| match value {
        None => each(name, None),
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

/// Gives a record's fields in order, words last.
pub fn parse_fields(record_type: i32, body: &[u8]) -> Vec<Field<'_>> {
    let mut fields = Vec::new();
    let mut words: Vec<&[u8]> = Vec::new();
    tokens(body, &mut |name, value| match value {
        None => words.push(name),
        Some(value) => {
            let value = decode_value(record_type, name, value);
            let name = if record_type == LOGIN { new_name(name, &mut words) } else { name };
            fields.push(Field { name, value });
        }
    });
    let mut left = &words[..];
    if !words.is_empty() && matches!(record_type, AVC | USER_AVC) {
        let (verdict, rest) = access_vector(&words);
        fields.splice(0..0, verdict);
        left = rest;
    }
    if !left.is_empty() {
        fields.push(Field { name: b"_", value: Some(Cow::Owned(left.join(&b' '))) });
    }
    fields
}

/// Current name of a field of LOGIN: `old auid=` is old-auid, `new auid=` is auid.
fn new_name<'a>(name: &'a [u8], words: &mut Vec<&[u8]>) -> &'a [u8] {
    let old: &[u8] = match name {
        b"auid" => b"old-auid",
        b"ses" => b"old-ses",
        _ => return name,
    };
    match words.last() {
        Some(&b"old") => {
            words.pop();
            old
        }
        Some(&b"new") => {
            words.pop();
            name
        }
        _ => name,
    }
}

fn access_vector<'a, 'w>(words: &'w [&'a [u8]]) -> (Vec<Field<'a>>, &'w [&'a [u8]]) {
    if words[0] != b"avc:" || words.len() < 2 {
        return (Vec::new(), words);
    }
    let mut verdict = vec![Field { name: b"seresult", value: Some(Cow::Borrowed(words[1])) }];
    let mut rest = &words[2..];
    if rest.first() == Some(&&b"{"[..]) {
        if let Some(end) = rest.iter().position(|&word| word == b"}") {
            let names = rest[1..end].join(&b',');
            verdict.push(Field { name: b"seperms", value: Some(Cow::Owned(names)) });
            rest = &rest[end + 1..];
        }
    }
    if rest.first() == Some(&&b"for"[..]) {
        rest = &rest[1..];
    }
    (verdict, rest)
}

/// The value of the first field with this name.
pub fn first<'f>(fields: &'f [Field<'_>], name: &[u8]) -> Option<&'f [u8]> {
    fields.iter().find(|field| field.name == name)?.value.as_deref()
}

/// Writes fields as a JSON object of texts; also gives whether the texts are exact.
pub fn to_json(fields: &[Field<'_>]) -> (String, bool) {
    let mut exact = true;
    let mut shown: Vec<Shown<'_>> = Vec::new();
    let mut places = Places::default();
    for field in fields {
        let (label, clean) = to_text(field.name);
        exact &= clean;
        let value = field.value.as_deref().map(|value| {
            let (text, clean) = to_text(value);
            exact &= clean;
            text
        });
        match places.find(&shown, &label) {
            Some(place) => shown[place].more.push(value),
            None => {
                places.add(&shown, &label);
                shown.push(Shown { label, first: value, more: Vec::new() });
            }
        }
    }
    let mut out = String::from("{");
    for (position, Shown { label, first, more }) in shown.iter().enumerate() {
        if position > 0 {
            out.push(',');
        }
        push_json(&mut out, label);
        out.push_str(if more.is_empty() { ":" } else { ":[" });
        push_value(&mut out, first);
        for value in more {
            out.push(',');
            push_value(&mut out, value);
        }
        if !more.is_empty() {
            out.push(']');
        }
    }
    out.push('}');
    (out, exact)
}

fn push_value(out: &mut String, value: &Option<Text<'_>>) {
    match value {
        Some(text) => push_json(out, text),
        None => out.push_str("null"),
    }
}

/// A name and its values: nearly always one.
struct Shown<'a> {
    label: Text<'a>,
    first: Option<Text<'a>>,
    more: Vec<Option<Text<'a>>>,
}

/// Up to so many names are searched linearly; more are looked up in a map.
const FEW: usize = 16;

/// The position of each name in a list.
#[derive(Default)]
struct Places {
    table: HashTable<usize>,
    hasher: RandomState,
}

impl Places {
    fn find(&self, shown: &[Shown<'_>], label: &str) -> Option<usize> {
        if shown.len() <= FEW {
            return shown.iter().position(|known| known.label == label);
        }
        let hash = self.hasher.hash_one(label);
        self.table.find(hash, |&place| shown[place].label == label).copied()
    }

    /// Adds the name that will be the next in the list.
    fn add(&mut self, shown: &[Shown<'_>], label: &str) {
        if shown.len() < FEW {
            return;
        }
        if self.table.is_empty() {
            for place in 0..shown.len() {
                self.insert(shown, place, self.hasher.hash_one(&*shown[place].label));
            }
        }
        let hash = self.hasher.hash_one(label);
        let hasher = &self.hasher;
        let next = shown.len();
        self.table.insert_unique(hash, next, |&place| {
            hasher.hash_one(if place == next { label } else { &*shown[place].label })
        });
    }

    fn insert(&mut self, shown: &[Shown<'_>], place: usize, hash: u64) {
        let hasher = &self.hasher;
        self.table.insert_unique(hash, place, |&place| hasher.hash_one(&*shown[place].label));
    }
}
