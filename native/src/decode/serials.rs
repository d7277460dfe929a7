//! Counts the serials of one host that were not seen. See auditsvc/decode/reference/serials.py.

use std::sync::LazyLock;

const WINDOW: u32 = 1 << 14;
const HALF: u32 = 1 << 31;
const FAR: u32 = 1 << 10;

pub struct Serials {
    pub highest: u32,
    pub when: i64,
    span: u64,
    seen: Box<[u32]>,
}

impl Serials {
    pub fn new(highest: u32, when: i64) -> Self {
        static NONE: LazyLock<Box<[u32]>> =
            LazyLock::new(|| (0..WINDOW).map(|slot| slot ^ 1).collect());
        let mut seen = NONE.clone();
        seen[(highest % WINDOW) as usize] = highest;
        Serials { highest, when, span: 0, seen }
    }

    /// Adds an event's serial and time (milliseconds); gives the change of the gap.
    pub fn see(&mut self, serial: u32, when: i64) -> i64 {
        let ahead = serial.wrapping_sub(self.highest);
        let slot = &mut self.seen[(serial % WINDOW) as usize];
        if 0 < ahead && ahead < HALF {
            self.highest = serial;
            self.span += u64::from(ahead);
            *slot = serial;
            self.when = self.when.max(when);
            return i64::from(ahead) - 1;
        }
        let behind = ahead.wrapping_neg();
        if behind > FAR && when > self.when {
            self.highest = serial;
            self.when = when;
            self.span = 0;
            *slot = serial;
            return 0;
        }
        self.when = self.when.max(when);
        if behind >= WINDOW || u64::from(behind) > self.span || *slot == serial {
            return 0;
        }
        *slot = serial;
        -1
    }
}
