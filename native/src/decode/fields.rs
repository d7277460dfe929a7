//! A record's body -> its fields. See auditsvc/record/fields.py.

use std::borrow::Cow;
use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::text::{push_json, to_text};
use super::tokens::tokens;
use super::types::{
    ANOM_PROMISCUOUS, AVC, EXECVE, LANDLOCK_ACCESS, LOGIN, NETFILTER_CFG, USER_AVC,
};

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

/// Where the name ends with which some records begin, that any user may choose (in a user namespace
/// of his own), and that the kernel does not encode (audit_log_nfcfg, __dev_set_promiscuity).
pub fn name_end(record_type: i32, body: &[u8]) -> Option<usize> {
    let (begin, following): (&[u8], &[u8]) = match record_type {
        NETFILTER_CFG => (b"table=", b" family="),
        ANOM_PROMISCUOUS => (b"dev=", b" prom="),
        _ => return None,
    };
    let end = memchr::memmem::rfind(body, following)?;
    (body.starts_with(begin) && end >= begin.len()).then_some(end)
}

/// Gives a record's fields in order, words last.
pub fn parse_fields(record_type: i32, body: &[u8]) -> Vec<Field<'_>> {
    let mut fields = Vec::new();
    let mut words: Vec<&[u8]> = Vec::new();
    let mut body = body;
    if let Some(end) = name_end(record_type, body) {
        let (begin, rest) = body.split_at(end);
        let at = memchr::memchr(b'=', begin).unwrap_or(0);
        let name = &begin[..at];
        fields.push(Field { name, value: decode_value(record_type, name, &begin[at + 1..]) });
        body = rest;
    }
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
    to_json_as(fields, to_text)
}

/// The same with values as `shown_as` gives them.
pub fn to_json_as(
    fields: &[Field<'_>],
    shown_as: for<'t> fn(&'t [u8]) -> (Text<'t>, bool),
) -> (String, bool) {
    let mut exact = true;
    let mut shown: Vec<Shown<'_>> = Vec::new();
    let mut places = Places::default();
    for field in fields {
        let (label, clean) = to_text(field.name);
        exact &= clean;
        let value = field.value.as_deref().map(|value| {
            let (text, clean) = shown_as(value);
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
