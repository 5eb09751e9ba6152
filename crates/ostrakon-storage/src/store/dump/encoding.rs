//! A part in bytes: canonical CBOR of the table's name, the names of its columns, and the rows' values.

use minicbor::{Decoder, Encoder as Cbor, data::Type, decode::Error};

use crate::store::copy::{
    rows::{Record, Value},
    tables::{Holds, TABLES, Table},
};

/// More columns than any table has.
const MOST_COLUMNS: u64 = 64;

/// Collects the rows of a part.
pub(super) struct Encoder {
    table: &'static Table,
    rows: u64,
    values: Vec<u8>,
}

/// Writing to memory does not fail.
macro_rules! put {
    ($cbor:expr) => {
        let _ = $cbor;
    };
}

impl Encoder {
    pub(super) fn new(table: &'static Table) -> Self {
        Self {
            table,
            rows: 0,
            values: Vec::new(),
        }
    }

    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    pub(super) fn add(&mut self, record: &Record) {
        let mut cbor = Cbor::new(&mut self.values);
        for value in &record.0 {
            put!(match value {
                Value::Int(value) => cbor.i64(*value),
                Value::Bytes(None) => cbor.null(),
                Value::Bytes(Some(value)) => cbor.bytes(value),
                Value::Text(value) => cbor.str(value),
            });
        }
        self.rows += 1;
    }

    pub(super) fn finish(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.values.len() + 256);
        let mut cbor = Cbor::new(&mut bytes);
        put!(cbor.str(self.table.name));
        put!(cbor.array(self.table.columns.len() as u64));
        for (name, _) in self.table.columns {
            put!(cbor.str(name));
        }
        put!(cbor.u64(self.rows));
        bytes.extend_from_slice(&self.values);
        bytes
    }
}

/// Why bytes are no part of a dump.
#[derive(Debug, thiserror::Error)]
#[error("that is no part of a dump, or one of a newer release")]
pub struct PartError(#[source] Malformed);

#[derive(Debug, thiserror::Error)]
pub(super) enum Malformed {
    #[error(transparent)]
    Cbor(#[from] Error),
    /// A newer release may know it.
    #[error("unknown table or column `{0}`")]
    Unknown(String),
    #[error("values of table `{0}` are not what its columns hold")]
    Values(&'static str),
}

/// The rows in a part.
pub struct Rows {
    /// Their table, with the columns that the part has.
    pub(super) table: Table,
    pub(super) records: Vec<Record>,
}

impl Rows {
    /// Reads the bytes of a part.
    ///
    /// # Errors
    /// When they are none, or a newer release wrote them.
    pub fn decode(bytes: &[u8]) -> Result<Self, PartError> {
        decode(bytes).map_err(PartError)
    }

    /// The table.
    #[must_use]
    pub fn table(&self) -> &'static str {
        self.table.name
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.records.len() as u64
    }
}

fn decode(bytes: &[u8]) -> Result<Rows, Malformed> {
    let mut cbor = Decoder::new(bytes);
    let name = cbor.str()?;
    let known = TABLES.iter().find(|table| table.name == name);
    let known = known.ok_or_else(|| Malformed::Unknown(name.to_owned()))?;
    let values = || Malformed::Values(known.name);
    let count = cbor.array()?.filter(|count| *count <= MOST_COLUMNS);
    // A dump of an older release has the first columns alone: a migration adds behind them.
    for place in 0..count.ok_or_else(values)? {
        let name = cbor.str()?;
        let place = usize::try_from(place).map_err(|_| values())?;
        if known
            .columns
            .get(place)
            .is_none_or(|(known, _)| *known != name)
        {
            return Err(Malformed::Unknown(format!("{}.{name}", known.name)));
        }
    }
    let count = usize::try_from(count.unwrap_or(0)).map_err(|_| values())?;
    let columns = known.columns.get(..count).ok_or_else(values)?;
    if count < known.key {
        return Err(values());
    }
    let rows = cbor.u64()?;
    let mut records = Vec::new();
    for _ in 0..rows {
        let mut row = Vec::with_capacity(count);
        for (_, holds) in columns {
            row.push(match (holds, cbor.datatype()?) {
                (Holds::Int, _) => Value::Int(cbor.i64()?),
                (Holds::BytesOrNull, Type::Null) => {
                    cbor.null()?;
                    Value::Bytes(None)
                }
                (Holds::Bytes | Holds::BytesOrNull, _) => {
                    Value::Bytes(Some(cbor.bytes()?.to_vec()))
                }
                (Holds::Text, _) => Value::Text(cbor.str()?.to_owned()),
            });
        }
        records.push(Record(row));
    }
    if cbor.position() != bytes.len() {
        return Err(values());
    }
    let table = Table { columns, ..*known };
    Ok(Rows { table, records })
}
