//! One column of each kind, as Arrow keeps it: values, where each begins, which are there.

/// Bytes of a column of texts: who has more to read asks for fewer rows.
const MOST: usize = 1 << 30;

/// Why a value cannot be added to a column.
pub enum Refused {
    Kind(&'static str),
    NoRoom,
}

/// Which values are not NULL: a bit each, the lowest first.
#[derive(Default)]
pub struct Valid {
    bits: Vec<u8>,
    count: usize,
    pub nulls: usize,
}

impl Valid {
    fn add(&mut self, is_valid: bool) {
        let place = self.count % 8;
        if place == 0 {
            self.bits.push(0);
        }
        if is_valid {
            if let Some(last) = self.bits.last_mut() {
                *last |= 1 << place;
            }
        } else {
            self.nulls += 1;
        }
        self.count += 1;
    }

    /// None: all of them are there.
    pub fn bits(&self) -> Option<&[u8]> {
        (self.nulls > 0).then_some(&self.bits)
    }
}

pub enum Column {
    Integers { valid: Valid, values: Vec<i64> },
    Texts { valid: Valid, ends: Vec<i32>, bytes: Vec<u8> },
}

impl Column {
    /// `i`: integers, `t`: texts.
    pub fn new(kind: char) -> Result<Self, &'static str> {
        match kind {
            'i' => Ok(Column::Integers { valid: Valid::default(), values: Vec::new() }),
            't' => Ok(Column::Texts { valid: Valid::default(), ends: vec![0], bytes: Vec::new() }),
            _ => Err("there is no such kind of column"),
        }
    }

    pub fn add_null(&mut self) {
        match self {
            Column::Integers { valid, values } => {
                valid.add(false);
                values.push(0);
            }
            Column::Texts { valid, ends, .. } => {
                valid.add(false);
                ends.push(ends.last().copied().unwrap_or(0));
            }
        }
    }

    pub fn add_integer(&mut self, number: i64) -> Result<(), Refused> {
        let Column::Integers { valid, values } = self else {
            return Err(Refused::Kind("a column of texts has another value"));
        };
        valid.add(true);
        values.push(number);
        Ok(())
    }

    pub fn add_text(&mut self, text: &str) -> Result<(), Refused> {
        let Column::Texts { valid, ends, bytes } = self else {
            return Err(Refused::Kind("a column of integers has another value"));
        };
        let length = bytes.len() + text.len();
        let end = i32::try_from(length).map_err(|_| Refused::NoRoom)?;
        if length > MOST {
            return Err(Refused::NoRoom);
        }
        bytes.extend_from_slice(text.as_bytes());
        valid.add(true);
        ends.push(end);
        Ok(())
    }
}
