//! The tables that a decoder makes rows for: their columns, in the order of auditsvc/store/schema/.

/// A table of dimension rows; the first column is the id.
pub struct DimensionTable {
    pub name: &'static str,
    pub columns: &'static [&'static str],
}

/// In the order of `Dimensions::rows`. Integers have 8 bytes on PostgreSQL.
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

/// A table of facts. `widths` are the sizes in bytes of the integers on PostgreSQL; 0: as many
/// as the number needs, unsigned.
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
    widths: [8, 2, 8, 4, 0, 0, 0, 0, 2, 8, 2, 4, 8],
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

/// The names and columns of the tables of facts.
pub const FACTS: [(&str, &[&str]); 6] = [
    (SYSCALL.name, &SYSCALL.columns),
    (EXEC.name, &EXEC.columns),
    (PATH.name, &PATH.columns),
    (SOCKADDR.name, &SOCKADDR.columns),
    (EVENT.name, &EVENT.columns),
    (RECORD.name, &RECORD.columns),
];
