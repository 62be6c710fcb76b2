//! Other embedded stores on the same work, for context: a group of readings under ascending keys is one durable
//! transaction. They keep everything; the store's own log deletes what is confirmed.

use crate::contender::{Contender, Entry, Outcome};
use crate::load::reading;
use fjall::{Database, KeyspaceCreateOptions, PersistMode};
use redb::TableDefinition;
use std::fs;
use std::path::Path;

/// All of them.
pub(crate) fn all() -> Vec<Entry> {
    vec![
        ("sqlite, WAL, full", |dir| Ok(Box::new(Sqlite::new(dir)?))),
        ("redb", |dir| Ok(Box::new(Redb::new(dir)?))),
        ("fjall", |dir| Ok(Box::new(Fjall::new(dir)?))),
    ]
}

struct Sqlite(rusqlite::Connection);

impl Sqlite {
    fn new(dir: &Path) -> Outcome<Sqlite> {
        fs::create_dir_all(dir)?;
        let connection = rusqlite::Connection::open(dir.join("sqlite"))?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.pragma_update(None, "synchronous", "full")?;
        connection.execute_batch("create table log (at integer primary key, reading blob)")?;
        Ok(Sqlite(connection))
    }
}

impl Contender for Sqlite {
    fn append(&mut self, first: u64, count: u64) -> Outcome<()> {
        let transaction = self.0.transaction()?;
        {
            let mut insert = transaction.prepare_cached("insert into log values (?, ?)")?;
            for number in first..first + count {
                insert.execute((number as i64, &reading(number)[..]))?;
            }
        }
        Ok(transaction.commit()?)
    }
}

const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");

struct Redb(redb::Database);

impl Redb {
    fn new(dir: &Path) -> Outcome<Redb> {
        fs::create_dir_all(dir)?;
        Ok(Redb(redb::Database::create(dir.join("redb"))?))
    }
}

impl Contender for Redb {
    fn append(&mut self, first: u64, count: u64) -> Outcome<()> {
        let transaction = self.0.begin_write()?;
        {
            let mut table = transaction.open_table(LOG)?;
            for number in first..first + count {
                table.insert(number, &reading(number)[..])?;
            }
        }
        Ok(transaction.commit()?)
    }
}

struct Fjall {
    database: Database,
    log: fjall::Keyspace,
}

impl Fjall {
    fn new(dir: &Path) -> Outcome<Fjall> {
        let database = Database::builder(dir).open()?;
        let log = database.keyspace("log", KeyspaceCreateOptions::default)?;
        Ok(Fjall { database, log })
    }
}

impl Contender for Fjall {
    fn append(&mut self, first: u64, count: u64) -> Outcome<()> {
        let mut batch = self.database.batch();
        for number in first..first + count {
            batch.insert(&self.log, number.to_be_bytes(), reading(number));
        }
        batch.commit()?;
        Ok(self.database.persist(PersistMode::SyncData)?)
    }
}
