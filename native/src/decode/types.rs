//! Record types by their role in an event, and their numbers. See auditsvc/record/types.py.

use std::collections::HashMap;

use blake2b_simd::Params;

pub const LOGIN: i32 = 1006;
pub const NETFILTER_CFG: i32 = 1325;
pub const ANOM_PROMISCUOUS: i32 = 1700;
pub const USER_AVC: i32 = 1107;
pub const DAEMON_ERR: i32 = 1209;
pub const SYSCALL: i32 = 1300;
pub const PATH: i32 = 1302;
pub const SOCKADDR: i32 = 1306;
pub const CWD: i32 = 1307;
pub const EXECVE: i32 = 1309;
pub const EOE: i32 = 1320;
pub const SECCOMP: i32 = 1326;
pub const PROCTITLE: i32 = 1327;
pub const URINGOP: i32 = 1336;
pub const AVC: i32 = 1400;
pub const LANDLOCK_ACCESS: i32 = 1423;
pub const MAC_TASK_CONTEXTS: i32 = 1425;
pub const MAC_OBJ_CONTEXTS: i32 = 1426;
pub const ANOM_ABEND: i32 = 1701;
pub const KERNEL: i32 = 2000;

pub fn is_daemon(number: i32) -> bool {
    (1200..1300).contains(&number)
}

pub fn is_single(number: i32) -> bool {
    matches!(number, SECCOMP | ANOM_ABEND | KERNEL)
}

pub fn is_contexts(number: i32) -> bool {
    matches!(number, MAC_TASK_CONTEXTS | MAC_OBJ_CONTEXTS)
}

pub fn is_dependent(number: i32) -> bool {
    matches!(
        number,
        PATH | 1303 | 1304 | SOCKADDR | CWD | EXECVE | 1311..=1315 | 1317 | 1318 | 1321..=1323
            | PROCTITLE | 1330 | 1332 | 1333 | 1337
    )
}

/// Types whose `pid=` is the task of their event.
pub fn is_of_task(number: i32) -> bool {
    matches!(
        number,
        LOGIN | NETFILTER_CFG | SECCOMP | AVC | 1401 | 1500..=1507 | ANOM_ABEND | 1702 | 1800..=1807
    )
}

pub fn is_renumbered(number: i32) -> bool {
    matches!(number, 1420 | 1421)
}

/// The type that a record has by its content: Ubuntu's kernels use other numbers for these.
pub fn of_body(number: i32, body: &[u8]) -> i32 {
    match number {
        1420 if body.starts_with(b"subj_") => MAC_TASK_CONTEXTS,
        1421 if body.starts_with(b"obj_") => MAC_OBJ_CONTEXTS,
        _ => number,
    }
}

pub fn is_user(number: i32) -> bool {
    ((0..SYSCALL).contains(&number) && number != LOGIN) || number >= 2100
}

const MAX_KNOWN: usize = 4096;

/// Numbers of record types, and numbers made for unknown names.
pub struct TypeTable {
    numbers: HashMap<Box<[u8]>, i32, foldhash::fast::RandomState>,
    /// `auditsvc.tables.names.record_types()`, in both directions.
    by_name: HashMap<Vec<u8>, i32>,
    named: HashMap<i32, String>,
    /// Rows of `record_type` since the caller last emptied it.
    pub unknown: Vec<(i32, String)>,
}

impl TypeTable {
    pub fn new(names: Vec<(i32, String)>) -> Self {
        TypeTable {
            numbers: HashMap::default(),
            by_name: names.iter().map(|(n, name)| (name.clone().into_bytes(), *n)).collect(),
            named: names.into_iter().collect(),
            unknown: Vec::new(),
        }
    }

    pub fn forget(&mut self) {
        self.numbers.clear();
    }

    #[inline]
    pub fn number(&mut self, name: &[u8]) -> i32 {
        // Nearly all records; libaudit's tables have no other names for these types.
        match name {
            b"SYSCALL" => return SYSCALL,
            b"PROCTITLE" => return PROCTITLE,
            b"EOE" => return EOE,
            b"PATH" => return PATH,
            b"CWD" => return CWD,
            _ => {}
        }
        match self.numbers.get(name) {
            Some(&number) => number,
            None => self.new_number(name),
        }
    }

    #[cold]
    fn new_number(&mut self, name: &[u8]) -> i32 {
        let number = match self.spelled(name) {
            Some(number) => {
                if !self.named.contains_key(&number) {
                    self.unknown.push((number, format!("UNKNOWN[{number}]")));
                }
                number
            }
            None => {
                let digest = Params::new().hash_length(4).hash(name);
                let bits: [u8; 4] = digest.as_bytes().try_into().expect("four bytes");
                let number = -1 - (u32::from_le_bytes(bits) & 0x7fff_ffff) as i32;
                self.unknown.push((number, String::from_utf8_lossy(name).into_owned()));
                number
            }
        };
        if self.numbers.len() >= MAX_KNOWN {
            self.numbers.clear();
        }
        self.numbers.insert(name.into(), number);
        number
    }

    /// Digits, a name that has a number, or UNKNOWN[digits]; below 2^31.
    fn spelled(&self, name: &[u8]) -> Option<i32> {
        let digits = |text: &[u8]| -> Option<i32> { std::str::from_utf8(text).ok()?.parse().ok() };
        if name.first()?.is_ascii_digit() {
            return digits(name);
        }
        self.by_name
            .get(name)
            .copied()
            .or_else(|| digits(name.strip_prefix(b"UNKNOWN[")?.strip_suffix(b"]")?))
    }
}
