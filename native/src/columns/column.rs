//! One column of each kind, as Arrow keeps it: values, where each begins, which are there.

/// Bytes of a column of texts: who has more to read asks for fewer rows.
const MOST: usize = 1 << 30;
const TOO_MUCH: &str = "the texts of a column are too long to be read at once";

/// A value as SQLite has it.
pub enum Value<'a> {
    Null,
    Integer(i64),
    Text(&'a [u8]),
    Other,
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
    fn new(kind: u8) -> Result<Self, &'static str> {
        match kind {
            b'i' => Ok(Column::Integers { valid: Valid::default(), values: Vec::new() }),
            b't' => Ok(Column::Texts { valid: Valid::default(), ends: vec![0], bytes: Vec::new() }),
            _ => Err("there is no such kind of column"),
        }
    }

    fn add(&mut self, value: &Value) -> Result<(), &'static str> {
        match (self, value) {
            (Column::Integers { valid, values }, Value::Integer(number)) => {
                valid.add(true);
                values.push(*number);
            }
            (Column::Integers { valid, values }, Value::Null) => {
                valid.add(false);
                values.push(0);
            }
            (Column::Integers { .. }, _) => return Err("a column of integers has another value"),
            (Column::Texts { valid, ends, bytes }, Value::Text(text)) => {
                if std::str::from_utf8(text).is_err() {
                    return Err("a text is not UTF-8");
                }
                let length = bytes.len() + text.len();
                let end = i32::try_from(length).map_err(|_| TOO_MUCH)?;
                if length > MOST {
                    return Err(TOO_MUCH);
                }
                bytes.extend_from_slice(text);
                valid.add(true);
                ends.push(end);
            }
            (Column::Texts { valid, ends, .. }, Value::Null) => {
                valid.add(false);
                ends.push(ends.last().copied().unwrap_or(0));
            }
            (Column::Texts { .. }, _) => return Err("a column of texts has another value"),
        }
        Ok(())
    }
}

/// The columns of some rows.
pub struct Columns {
    pub rows: usize,
    pub columns: Vec<Column>,
}

impl Columns {
    pub fn new(kinds: &[u8]) -> Result<Self, &'static str> {
        let columns = kinds.iter().map(|&kind| Column::new(kind)).collect::<Result<_, _>>()?;
        Ok(Columns { rows: 0, columns })
    }

    /// Adds a row: a value for each column.
    pub fn add<'a>(
        &mut self,
        values: impl ExactSizeIterator<Item = Value<'a>>,
    ) -> Result<(), &'static str> {
        if values.len() != self.columns.len() {
            return Err("there are not as many values as columns");
        }
        self.rows += 1;
        self.columns.iter_mut().zip(values).try_for_each(|(column, value)| column.add(&value))
    }
}
