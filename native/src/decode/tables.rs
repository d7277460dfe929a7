//! The tables that a decoder fills: their columns, in the order of auditsvc/store/schema.py.

use super::dimensions::Dimension;
use super::rows::{Batch, EventRow, SyscallRow};

/// A table of dimension rows; the first column is the id.
pub struct DimensionTable {
    pub name: &'static str,
    pub columns: &'static [&'static str],
}

/// In the order of `Dimensions::made`. Integers have 8 bytes on PostgreSQL.
pub const DIMENSIONS: [DimensionTable; 5] = [
    DimensionTable { name: "host", columns: &["id", "name"] },
    DimensionTable { name: "text", columns: &["id", "value", "raw"] },
    DimensionTable {
        name: "context",
        columns: &[
            "id", "host", "arch", "ppid", "pid", "auid", "uid", "gid", "euid", "suid", "fsuid",
            "egid", "sgid", "fsgid", "tty", "ses", "comm", "exe", "subj", "key", "cwd", "title",
            "extra",
        ],
    },
    DimensionTable {
        name: "file",
        columns: &[
            "id", "name", "nametype", "inode", "dev", "mode", "ouid", "ogid", "rdev", "obj",
            "extra",
        ],
    },
    DimensionTable {
        name: "address",
        columns: &["id", "family", "address", "port", "path", "saddr"],
    },
];

/// A table of facts. `widths` are the bytes of an integer in each column on PostgreSQL.
pub struct Table<const N: usize> {
    pub name: &'static str,
    pub columns: [&'static str; N],
    pub widths: [u8; N],
}

pub const SYSCALL: Table<13> = Table {
    name: "syscall",
    columns: [
        "id", "ms", "serial", "nr", "a0", "a1", "a2", "a3", "success", "exit", "state", "items",
        "context",
    ],
    widths: [8, 2, 8, 4, 8, 8, 8, 8, 2, 8, 2, 4, 8],
};
pub const EXEC: Table<2> = Table { name: "exec", columns: ["event", "argv"], widths: [8, 8] };
pub const PATH: Table<4> =
    Table { name: "path", columns: ["event", "seq", "item", "file"], widths: [8, 4, 4, 8] };
pub const SOCKADDR: Table<3> =
    Table { name: "sockaddr", columns: ["event", "seq", "address"], widths: [8, 4, 8] };
pub const EVENT: Table<11> = Table {
    name: "event",
    columns: ["id", "host", "ms", "serial", "type", "pid", "uid", "auid", "ses", "state", "fields"],
    widths: [8, 8, 2, 8, 4, 8, 8, 8, 8, 2, 8],
};
pub const RECORD: Table<4> =
    Table { name: "record", columns: ["event", "type", "seq", "fields"], widths: [8, 4, 4, 8] };

/// Takes the rows of one table after the other.
pub trait Visitor {
    fn dimension(&mut self, table: &'static DimensionTable, rows: &[Dimension]);

    fn table<const N: usize>(
        &mut self,
        table: &'static Table<N>,
        rows: impl ExactSizeIterator<Item = [Option<i64>; N]>,
    );
}

impl Batch {
    /// Shows the rows of every table, or of the one called `only`.
    pub fn visit(&self, only: Option<&str>, visitor: &mut impl Visitor) {
        let is_asked = |name| only.is_none_or(|asked| asked == name);
        if is_asked(SYSCALL.name) && !self.syscalls.is_empty() {
            visitor.table(&SYSCALL, self.syscalls.iter().map(SyscallRow::columns));
        }
        if is_asked(EXEC.name) && !self.execs.is_empty() {
            let rows = self.execs.iter();
            visitor.table(&EXEC, rows.map(|&(event, argv)| [event, argv].map(Some)));
        }
        if is_asked(PATH.name) && !self.paths.is_empty() {
            let rows = self.paths.iter();
            visitor.table(
                &PATH,
                rows.map(|&(event, seq, item, file)| [Some(event), Some(seq), item, Some(file)]),
            );
        }
        if is_asked(SOCKADDR.name) && !self.sockaddrs.is_empty() {
            let rows = self.sockaddrs.iter();
            visitor.table(
                &SOCKADDR,
                rows.map(|&(event, seq, address)| [event, seq, address].map(Some)),
            );
        }
        if is_asked(EVENT.name) && !self.events.is_empty() {
            visitor.table(&EVENT, self.events.iter().map(EventRow::columns));
        }
        if is_asked(RECORD.name) && !self.records.is_empty() {
            let rows = self.records.iter();
            visitor.table(
                &RECORD,
                rows.map(|&(event, number, seq, fields)| {
                    [event, number.into(), seq, fields].map(Some)
                }),
            );
        }
    }
}

impl SyscallRow {
    fn columns(&self) -> [Option<i64>; 13] {
        let [a0, a1, a2, a3] = self.arguments.map(Some);
        [
            Some(self.id),
            Some(self.ms.into()),
            Some(self.serial.into()),
            Some(self.nr.into()),
            a0,
            a1,
            a2,
            a3,
            self.success.map(i64::from),
            self.exit,
            Some(self.state.into()),
            Some(self.items.into()),
            Some(self.context),
        ]
    }
}

impl EventRow {
    fn columns(&self) -> [Option<i64>; 11] {
        let [pid, uid, auid, ses] = self.who;
        [
            Some(self.id),
            Some(self.host),
            Some(self.ms.into()),
            Some(self.serial.into()),
            Some(self.number.into()),
            pid,
            uid,
            auid,
            ses,
            Some(self.state.into()),
            Some(self.fields),
        ]
    }
}
