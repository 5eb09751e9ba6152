use std::time::Duration;

use sqlx::{ConnectOptions, Connection, Database, Pool, pool::PoolOptions};

use crate::StoreError;

const ACQUIRE: Duration = Duration::from_secs(5);
const READERS: u32 = 8;
const WRITERS: u32 = 2;

/// The connections to one database: those that write, and those that read.
#[derive(Debug)]
pub(crate) struct Pools<DB: Database> {
    pub(super) writer: Pool<DB>,
    pub(super) reader: Pool<DB>,
}

impl<DB: Database> Pools<DB> {
    /// Connects to a shared database, each connection as `pool` has it set.
    pub(super) async fn shared<O>(
        options: O,
        pool: impl Fn() -> PoolOptions<DB>,
    ) -> Result<Self, StoreError>
    where
        DB::Connection: Connection<Options = O>,
        O: ConnectOptions<Connection = DB::Connection>,
    {
        let pool = |size| pool().max_connections(size).acquire_timeout(ACQUIRE);
        let writer = pool(WRITERS).connect_with(options.clone()).await?;
        let reader = pool(READERS).connect_lazy_with(options);
        Ok(Self { writer, reader })
    }

    pub(super) async fn close(&self) {
        self.reader.close().await;
        self.writer.close().await;
    }
}
