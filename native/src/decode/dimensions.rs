//! Slices of records -> ids of dimension rows. See auditsvc/decode/reference/dimensions.py.

use std::borrow::Cow;
use std::collections::HashMap;

use super::address::parse_address;
use super::arguments::join_arguments;
use super::batch::DimensionRows;
use super::cache::{Cache, FEW_ENTRIES, MANY_ENTRIES};
use super::calls::Rest;
use super::fields::{Field, decode_value, parse_fields, signed, to_int, to_json, to_json_as};
use super::ids::{self, Part, Value, dimension_id};
use super::paths::{COLUMNS as PATH_COLUMNS, printed_path};
use super::schema::DIMENSIONS;
use super::text::{json_list, to_short_text, to_text};
use super::types::{CWD, EXECVE, PATH, PROCTITLE, SYSCALL};

/// Bytes that are counted for a row in addition to its texts.
pub const ROW_SIZE: usize = 100;
/// Bytes of the arguments of one exec, or of its records, above which they are shown shortly.
pub const LONG_LIST: usize = 1 << 20;

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Id,
    Number,
    Text,
    Plain,
}

use Kind::{Id, Number, Plain, Text};

const CONTEXT_COLUMNS: [(&[u8], Kind); 17] = [
    (b"ppid", Id),
    (b"pid", Id),
    (b"auid", Id),
    (b"uid", Id),
    (b"gid", Id),
    (b"euid", Id),
    (b"suid", Id),
    (b"fsuid", Id),
    (b"egid", Id),
    (b"sgid", Id),
    (b"fsgid", Id),
    (b"tty", Text),
    (b"ses", Id),
    (b"comm", Text),
    (b"exe", Text),
    (b"subj", Text),
    (b"key", Text),
];
const FILE_COLUMNS: [(&[u8], Kind); PATH_COLUMNS] = [
    (b"name", Text),
    (b"nametype", Plain),
    (b"inode", Number),
    (b"dev", Plain),
    (b"mode", Plain),
    (b"ouid", Id),
    (b"ogid", Id),
    (b"rdev", Plain),
    (b"obj", Text),
];

// Indexes of the tables in `Dimensions::rows`.
const HOST: usize = 0;
const TEXT: usize = 1;
const CONTEXT: usize = 2;
const FILE: usize = 3;
const ADDRESS: usize = 4;

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct ContextTag {
    host: i64,
    arch: u32,
    as_fields: bool,
    rest: usize,
    cwd: Option<usize>,
    title: Option<usize>,
}

/// Reads an id (of a user, a session, a process): None if it is not a number, or is unset.
pub fn id_column(value: Option<&[u8]>) -> Option<i64> {
    to_int(value).filter(|number| !matches!(number, -1 | 0xffff_ffff)).map(signed)
}

pub struct Dimensions {
    pub rows: [DimensionRows; 5],
    /// Approximate size of `rows` in bytes; reset by the function that takes the rows.
    pub held: usize,
    secret: Vec<u8>,
    host: String,
    pins: HashMap<Vec<u8>, i64>,
    /// For the canonical bytes of one row.
    key: Vec<u8>,
    ids: Cache<(), i64>,
    hosts: Cache<bool, i64>,
    contexts: Cache<ContextTag, i64>,
    files: Cache<(), i64>,
    /// What stands behind the columns of a PATH: nearly always one of a few texts.
    attributes: Cache<(), Option<i64>>,
    addresses: Cache<bool, i64>,
    argvs: Cache<bool, (i64, bool)>,
    bodies: Cache<i32, i64>,
}

impl Dimensions {
    pub fn new(secret: Vec<u8>, host: String) -> Self {
        Dimensions {
            rows: Default::default(),
            held: 0,
            secret,
            host,
            pins: HashMap::new(),
            key: Vec::new(),
            ids: Cache::new(MANY_ENTRIES),
            hosts: Cache::new(FEW_ENTRIES),
            contexts: Cache::new(FEW_ENTRIES),
            files: Cache::new(MANY_ENTRIES),
            attributes: Cache::new(FEW_ENTRIES),
            addresses: Cache::new(FEW_ENTRIES),
            argvs: Cache::new(FEW_ENTRIES),
            bodies: Cache::new(FEW_ENTRIES),
        }
    }

    pub fn pin(&mut self, table: &str, content: &[Value], id: i64) {
        let mut key = Vec::new();
        ids::write_key(&mut key, table, ids::parts(content));
        self.pins.insert(key, id);
        self.forget();
    }

    pub fn forget(&mut self) {
        self.ids.clear();
        self.hosts.clear();
        self.contexts.clear();
        self.files.clear();
        self.attributes.clear();
        self.addresses.clear();
        self.argvs.clear();
        self.bodies.clear();
    }

    fn id(&mut self, table: usize, content: Vec<Value>, size: usize) -> i64 {
        ids::write_key(&mut self.key, DIMENSIONS[table].name, ids::parts(&content));
        match self.ids.get((), &[&self.key]) {
            Some(known) => known,
            None => self.new_row(table, content, size),
        }
    }

    /// Makes the row that `key` identifies.
    fn new_row(
        &mut self,
        table: usize,
        content: impl IntoIterator<Item = Value> + AsRef<[Value]>,
        size: usize,
    ) -> i64 {
        let pinned = || self.pins.get(&self.key).copied().filter(|&id| id != 0);
        let pinned = if self.pins.is_empty() { None } else { pinned() };
        let name = DIMENSIONS[table].name;
        let id =
            pinned.unwrap_or_else(|| dimension_id(&self.secret, name, content.as_ref(), &self.key));
        self.rows[table].push(id, content);
        self.held += size + ROW_SIZE;
        if self.ids.put((), &[&self.key], id, size) {
            // It has ids of texts that are to come again, as in the reference.
            self.attributes.clear();
        }
        id
    }

    fn text(&mut self, value: Cow<'_, str>, raw: Option<Cow<'_, [u8]>>) -> i64 {
        let of_raw = raw.as_deref().map_or(Part::Null, Part::Bytes);
        let parts = [Part::Bytes(value.as_bytes()), of_raw];
        ids::write_key(&mut self.key, DIMENSIONS[TEXT].name, parts.into_iter());
        if let Some(known) = self.ids.get((), &[&self.key]) {
            return known;
        }
        let size = value.chars().count() + raw.as_ref().map_or(0, |raw| raw.len());
        let raw = raw.map_or(Value::Null, |raw| Value::Bytes(raw.into_owned().into()));
        self.new_row(TEXT, [value.into(), raw], size)
    }

    fn text_of(&mut self, name: &[u8], data: &[u8]) -> i64 {
        let replaced = |old: u8, new: u8| -> Cow<'_, [u8]> {
            if memchr::memchr(old, data).is_none() {
                return Cow::Borrowed(data);
            }
            Cow::Owned(data.iter().map(|&byte| if byte == old { new } else { byte }).collect())
        };
        let shown = match name {
            b"key" => replaced(1, b','),
            b"proctitle" => replaced(0, b' '),
            _ => Cow::Borrowed(data),
        };
        let (value, exact) = to_text(&shown);
        let says_all = exact && matches!(shown, Cow::Borrowed(_));
        self.text(value, if says_all { None } else { Some(data.into()) })
    }

    #[inline]
    pub fn host(&mut self, node: Option<&[u8]>) -> i64 {
        let key = node.unwrap_or_default();
        match self.hosts.get(node.is_some(), &[key]) {
            Some(known) => known,
            None => self.new_host(node),
        }
    }

    #[cold]
    fn new_host(&mut self, node: Option<&[u8]>) -> i64 {
        let name = match node {
            None => self.host.clone(),
            Some(node) => to_text(node).0.into_owned(),
        };
        let size = name.chars().count();
        let id = self.id(HOST, vec![name.as_str().into()], size);
        self.hosts.put(node.is_some(), &[node.unwrap_or_default()], id, size);
        id
    }

    #[inline]
    pub fn context(
        &mut self,
        host: i64,
        arch: u32,
        rest: &Rest<'_>,
        cwd: Option<&[u8]>,
        title: Option<&[u8]>,
    ) -> i64 {
        let joined;
        let (as_fields, key): (bool, &[u8]) = match rest {
            Rest::Text(text) => (false, text),
            Rest::Fields(fields) => {
                joined = join_fields(fields);
                (true, &joined)
            }
        };
        let tag = ContextTag {
            host,
            arch,
            as_fields,
            rest: key.len(),
            cwd: cwd.map(<[u8]>::len),
            title: title.map(<[u8]>::len),
        };
        let parts = [key, cwd.unwrap_or_default(), title.unwrap_or_default()];
        match self.contexts.get(tag, &parts) {
            Some(known) => known,
            None => self.new_context(tag, parts, rest, cwd, title),
        }
    }

    #[cold]
    fn new_context(
        &mut self,
        tag: ContextTag,
        parts: [&[u8]; 3],
        rest: &Rest<'_>,
        cwd: Option<&[u8]>,
        title: Option<&[u8]>,
    ) -> i64 {
        let (fields, length) = match rest {
            Rest::Text(text) => (parse_fields(SYSCALL, text), text.len()),
            Rest::Fields(fields) => (fields.clone(), fields.iter().map(size).sum()),
        };
        let kept = fields.into_iter().filter(|field| !matches!(field.name, b"ARCH" | b"SYSCALL"));
        let (columns, extra) = self.columns(kept, &CONTEXT_COLUMNS);
        let cwd = self.intern_text(CWD, cwd);
        let title = self.intern_text(PROCTITLE, title);
        let mut content = vec![tag.host.into(), i64::from(tag.arch).into()];
        content.extend(columns);
        content.extend([cwd.into(), title.into(), extra.into()]);
        let size = 200 + length + tag.cwd.unwrap_or(0) + tag.title.unwrap_or(0);
        let id = self.id(CONTEXT, content, 200);
        self.contexts.put(tag, &parts, id, size);
        id
    }

    fn intern_text(&mut self, record_type: i32, body: Option<&[u8]>) -> Option<i64> {
        let body = body?;
        let equals = memchr::memchr(b'=', body)?;
        let (name, value) = (&body[..equals], &body[equals + 1..]);
        let data = decode_value(record_type, name, value)?;
        Some(self.text_of(name, &data))
    }

    #[inline]
    pub fn file(&mut self, body: &[u8]) -> i64 {
        match self.files.get((), &[body]) {
            Some(known) => known,
            None => self.new_file(body),
        }
    }

    #[cold]
    fn new_file(&mut self, body: &[u8]) -> i64 {
        let content = self.printed_file(body).unwrap_or_else(|| {
            let (mut content, extra) =
                self.columns(parse_fields(PATH, body).into_iter(), &FILE_COLUMNS);
            content.push(extra.into());
            content
        });
        let id = self.id(FILE, content, body.len());
        self.files.put((), &[body], id, body.len());
        id
    }

    /// The same for a body as the kernel prints it, and None for any other.
    fn printed_file(&mut self, body: &[u8]) -> Option<Vec<Value>> {
        let path = printed_path(body)?;
        let mut content = Vec::with_capacity(FILE_COLUMNS.len() + 1);
        for ((name, kind), value) in FILE_COLUMNS.iter().zip(path.values) {
            content.push(match value.map(|value| decode_value(PATH, name, value)) {
                None => Value::Null,
                Some(value) => self.column(name, *kind, value.as_deref())?,
            });
        }
        let extra = match self.attributes.get((), &[path.rest]) {
            Some(known) => known,
            None => {
                let fields = parse_fields(PATH, path.rest);
                let is_column = |name| FILE_COLUMNS.iter().any(|(column, _)| *column == name);
                if fields.iter().any(|field| is_column(field.name)) {
                    return None;
                }
                let extra = self.extra(&fields);
                self.attributes.put((), &[path.rest], extra, path.rest.len());
                extra
            }
        };
        content.push(extra.into());
        Some(content)
    }

    fn columns<'a>(
        &mut self,
        fields: impl Iterator<Item = Field<'a>>,
        kinds: &[(&[u8], Kind)],
    ) -> (Vec<Value>, Option<i64>) {
        let mut columns = Vec::with_capacity(kinds.len() + 4);
        columns.resize(kinds.len(), Value::Null);
        let mut is_taken = [false; CONTEXT_COLUMNS.len()];
        let mut extra = Vec::new();
        for field in fields {
            let place = kinds.iter().position(|(name, _)| *name == field.name);
            let Some(place) = place.filter(|&place| !is_taken[place]) else {
                extra.push(field);
                continue;
            };
            match self.column(field.name, kinds[place].1, field.value.as_deref()) {
                Some(value) => {
                    columns[place] = value;
                    is_taken[place] = true;
                }
                None => extra.push(field),
            }
        }
        let rest = self.extra(&extra);
        (columns, rest)
    }

    /// The value of a field in its column; None if it has no place there.
    fn column(&mut self, name: &[u8], kind: Kind, value: Option<&[u8]>) -> Option<Value> {
        let Some(value) = value else { return Some(Value::Null) };
        match kind {
            Text => Some(self.text_of(name, value).into()),
            Id => to_int(Some(value)).map(|_| id_column(Some(value)).into()),
            Number => to_int(Some(value)).map(|number| signed(number).into()),
            Plain => match to_text(value) {
                (text, true) => Some((&*text).into()),
                _ => None,
            },
        }
    }

    /// Id of the text of the fields that have no column.
    fn extra(&mut self, fields: &[Field<'_>]) -> Option<i64> {
        if fields.is_empty() {
            return None;
        }
        let (value, exact) = to_json(fields);
        let pairs = || {
            let pair = |field: &Field<'_>| {
                [field.name, b"=", field.value.as_deref().unwrap_or_default()].concat()
            };
            fields.iter().map(pair).collect::<Vec<_>>().join(&0)
        };
        let raw = (!exact).then(|| pairs().into());
        Some(self.text(value.into(), raw))
    }

    pub fn address(&mut self, saddr: &[u8], little: bool) -> i64 {
        if let Some(known) = self.addresses.get(little, &[saddr]) {
            return known;
        }
        let id = self.id(ADDRESS, parse_address(saddr, little), saddr.len());
        self.addresses.put(little, &[saddr], id, saddr.len());
        id
    }

    /// Id of the arguments in EXECVE records, and whether all are present.
    pub fn argv(&mut self, bodies: &[&[u8]]) -> (i64, bool) {
        let length: usize = bodies.iter().map(|body| body.len()).sum();
        let is_digest = length > ids::LONG;
        let mut key = Vec::new();
        if is_digest {
            key.extend_from_slice(&ids::digest(bodies));
        } else {
            for body in bodies {
                key.extend_from_slice(&body.len().to_ne_bytes());
                key.extend_from_slice(body);
            }
        }
        if let Some(known) = self.argvs.get(is_digest, &[&key]) {
            return known;
        }
        let (values, all_present) = join_arguments(bodies);
        let mut exact = true;
        let is_long = values.iter().map(Vec::len).sum::<usize>() > LONG_LIST;
        let shown_as = if is_long { to_short_text } else { to_text };
        let value = json_list(values.iter().map(|value| {
            let (text, clean) = shown_as(value);
            exact &= clean;
            text
        }));
        let raw = (!exact).then(|| values.join(&0).into());
        drop(values);
        let id = self.text(value.into(), raw);
        self.argvs.put(is_digest, &[&key], (id, all_present), length);
        (id, all_present)
    }

    /// Id of the fields of one of very many EXECVE records: they are shown as the list of them is.
    pub fn long_arguments(&mut self, body: &[u8]) -> i64 {
        let (value, exact) = to_json_as(&parse_fields(EXECVE, body), to_short_text);
        self.text(value.into(), if exact { None } else { Some(body.into()) })
    }

    pub fn fields(&mut self, record_type: i32, body: &[u8]) -> i64 {
        if let Some(known) = self.bodies.get(record_type, &[body]) {
            return known;
        }
        let (value, exact) = to_json(&parse_fields(record_type, body));
        let id = self.text(value.into(), if exact { None } else { Some(body.into()) });
        self.bodies.put(record_type, &[body], id, body.len());
        id
    }
}

fn size(field: &Field<'_>) -> usize {
    100 + field.name.len() + field.value.as_deref().map_or(0, <[u8]>::len)
}

fn join_fields(fields: &[Field<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    for field in fields {
        out.extend_from_slice(&field.name.len().to_ne_bytes());
        out.extend_from_slice(field.name);
        out.push(u8::from(field.value.is_some()));
        let value = field.value.as_deref().unwrap_or_default();
        out.extend_from_slice(&value.len().to_ne_bytes());
        out.extend_from_slice(value);
    }
    out
}
