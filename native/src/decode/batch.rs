//! The rows that a decoder makes, and a visitor over them.

use super::ids::Value;
use super::schema::{DimensionTable, EVENT, EXEC, PATH, RECORD, SOCKADDR, SYSCALL, Table};

/// Rows of a dimension table, in one piece: the values of a row, its id first, after another's.
#[derive(Default)]
pub struct DimensionRows {
    values: Vec<Value>,
    /// Columns of the table.
    width: usize,
}

impl DimensionRows {
    pub fn push(&mut self, id: i64, content: impl IntoIterator<Item = Value>) {
        let start = self.values.len();
        self.values.push(Value::Int(id));
        self.values.extend(content);
        self.width = self.values.len() - start;
    }

    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &[Value]> {
        self.values.chunks_exact(self.width.max(1))
    }

    /// Gives the rows by their ids. These are random: in this order, rows that are inserted one
    /// after the other go to the same pages of a table.
    pub fn ordered(&self) -> Vec<&[Value]> {
        let mut rows: Vec<&[Value]> = self.iter().collect();
        rows.sort_unstable_by_key(|row| match row[0] {
            Value::Int(id) => id,
            _ => 0,
        });
        rows
    }
}

pub struct SyscallRow {
    pub id: i64,
    pub ms: u16,
    pub serial: u32,
    pub nr: i32,
    pub arguments: [i64; 4],
    pub success: Option<bool>,
    pub exit: Option<i64>,
    pub state: u8,
    pub items: i32,
    pub context: i64,
    pub weight: usize,
}

pub struct EventRow {
    pub id: i64,
    pub host: i64,
    pub ms: u16,
    pub serial: u32,
    pub number: i32,
    /// pid, uid, auid, ses.
    pub who: [Option<i64>; 4],
    pub state: u8,
    pub fields: i64,
    pub weight: usize,
}

/// Rows of facts, each in the order of its table's columns.
#[derive(Default)]
pub struct Batch {
    pub syscalls: Vec<SyscallRow>,
    /// event, argv
    pub execs: Vec<(i64, i64)>,
    /// event, seq, item, file
    pub paths: Vec<(i64, i64, Option<i64>, i64)>,
    /// event, seq, address
    pub sockaddrs: Vec<(i64, i64, i64)>,
    pub events: Vec<EventRow>,
    /// event, type, seq, fields
    pub records: Vec<(i64, i32, i64, i64)>,
    /// Ids of events of which a line came as the kernel prints it.
    pub claimed: Vec<i64>,
}

/// Gets the rows of one table after the other.
pub trait Visitor {
    fn dimension(&mut self, table: &'static DimensionTable, rows: &DimensionRows);

    fn table<const N: usize>(
        &mut self,
        table: &'static Table<N>,
        rows: impl ExactSizeIterator<Item = [Option<i64>; N]>,
    );
}

impl Batch {
    /// Visits the rows of every table, or of the table `only`.
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
