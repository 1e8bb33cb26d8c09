//! No row changes without an entry of the log: SQLite itself asks here before it commits.
//!
//! Shape: hooks on the one connection that writes. Each changed row counts under its table ([`RULES`]); a commit that changed
//! a table which speaks of the fleet, and added no entry, becomes a rollback and [`super::StoreError::Unrecorded`], whatever
//! code it came from.
//!
//! Invariants: a table without a rule needs entries. Rows of a request that was taken back do not count.
//!
//! What it does not do: see what another program writes into the file, which the MACs of rows are for; know whether the entry
//! is about the row, which a judge of its own looks at after the end-to-end tests (`tests/e2e/judge/coverage.py`).
//!
//! Source: AUD-110, AUD-111; sqlite3_update_hook, sqlite3_commit_hook.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use sqlx::{SqliteConnection, sqlite::SqliteOperation};

use super::StoreError;

/// Whether rows of a table change together with an entry of the log only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// Each commit that changes one adds an entry.
    Recorded,
    /// Each commit that adds or removes one adds an entry; a change of one that stays does not, and why.
    Stays(&'static str),
    /// Not so, and why.
    Free(&'static str),
}

/// Every table (AUD-111).
pub(super) const RULES: [(&str, Rule); 34] = [
    ("admissions", Rule::Recorded),
    (
        "alerts",
        Rule::Free("are in the log, from which they are known again; here is how often one came since"),
    ),
    ("alert_state", Rule::Free("how far the rules have looked through the log")),
    (
        "answers",
        Rule::Free("come with the entries of their change, and are replaced by what says more of it"),
    ),
    ("archives", Rule::Recorded),
    ("certificates", Rule::Recorded),
    ("crls", Rule::Recorded),
    (
        "deliveries",
        Rule::Free("who was told of an alert, and when; that somebody is not told for long is recorded"),
    ),
    ("device_logs", Rule::Recorded),
    ("devices", Rule::Recorded),
    ("entries", Rule::Free("come as entries do, and go when they are in an archive, which is recorded")),
    ("facts", Rule::Recorded),
    (
        "heartbeats",
        Rule::Free("measured values, of which the newest is kept; silence and return are recorded"),
    ),
    ("grants", Rule::Recorded),
    ("guardians", Rule::Recorded),
    (
        "log_state",
        Rule::Free("the checkpoint over the entries that there are, and what witnesses said of it"),
    ),
    ("manifests", Rule::Recorded),
    ("manifest_texts", Rule::Recorded),
    ("mirrors", Rule::Recorded),
    ("operators", Rule::Recorded),
    ("pairings", Rule::Recorded),
    ("revocations", Rule::Recorded),
    (
        "schema_version",
        Rule::Free("written before anything else is, when the program is newer than the file"),
    ),
    ("settings", Rule::Recorded),
    ("subjects", Rule::Recorded),
    ("tickets", Rule::Recorded),
    ("tiles", Rule::Recorded),
    ("vault_codes", Rule::Recorded),
    ("vaults", Rule::Recorded),
    ("vouchers", Rule::Recorded),
    ("vouching_grants", Rule::Recorded),
    ("witnessed_logs", Rule::Recorded),
    ("witnesses", Rule::Stays("how far a witness is, and whether it answers")),
    // A row of SQLite's own, where a table has numbers that are never used again.
    ("sqlite_sequence", Rule::Free("numbers of rows")),
];

const ENTRIES: &str = "entries";

/// How many rows were changed, by table.
#[derive(Clone, Debug, Default)]
struct Rows {
    all: BTreeMap<String, u64>,
    /// Tables whose changes need an entry.
    needy: BTreeSet<String>,
    has_entry: bool,
}

#[derive(Debug, Default)]
struct Book {
    /// Since the transaction began.
    open: Rows,
    /// Before the request that may be taken back.
    mark: Rows,
    /// Of everything that was committed.
    total: Rows,
    /// The table of which a change came without an entry.
    refused: Option<String>,
}

/// Counts changes of rows.
#[derive(Clone, Debug, Default)]
pub(super) struct Coverage(Arc<Mutex<Book>>);

impl Rows {
    fn count(&mut self, table: &str, operation: &SqliteOperation) {
        self.has_entry |= table == ENTRIES && matches!(operation, SqliteOperation::Insert);
        match self.all.get_mut(table) {
            Some(rows) => *rows += 1,
            None => drop(self.all.insert(table.to_owned(), 1)),
        }
        let needs = match rule(table) {
            Rule::Recorded => true,
            Rule::Stays(_) => !matches!(operation, SqliteOperation::Update),
            Rule::Free(_) => false,
        };
        if needs && !self.needy.contains(table) {
            self.needy.insert(table.to_owned());
        }
    }

    /// A table that changed and needed an entry, where none came.
    fn uncovered(&self) -> Option<&str> {
        self.needy.first().filter(|_| !self.has_entry).map(String::as_str)
    }
}

fn rule(table: &str) -> Rule {
    let found = RULES.iter().find(|(name, _)| *name == table);
    found.map_or(Rule::Recorded, |(_, rule)| *rule)
}

impl Coverage {
    /// Watches a connection from now on.
    pub(super) async fn watch(connection: &mut SqliteConnection) -> Result<Self, StoreError> {
        let coverage = Self::default();
        let (counts, judges, forgets) = (coverage.clone(), coverage.clone(), coverage.clone());
        let mut handle = connection.lock_handle().await?;
        handle.set_update_hook(move |change| {
            // What is put aside for a moment is not in the file.
            if change.database == "main" {
                counts.book().open.count(change.table, &change.operation);
            }
        });
        handle.set_commit_hook(move || judges.admits());
        handle.set_rollback_hook(move || forgets.book().open = Rows::default());
        Ok(coverage)
    }

    /// From here on, changes may be taken back.
    pub(super) fn mark(&self) {
        let mut book = self.book();
        book.mark = book.open.clone();
    }

    /// What was changed since the mark was taken back.
    pub(super) fn undo(&self) {
        let mut book = self.book();
        book.open = book.mark.clone();
    }

    /// What became of a commit that SQLite refused because of us.
    pub(super) fn take_refused(&self) -> Option<String> {
        self.book().refused.take()
    }

    /// Rows that were changed since the last call, in all tables.
    pub(super) fn take_total(&self) -> u64 {
        core::mem::take(&mut self.book().total).all.into_values().sum()
    }

    fn admits(&self) -> bool {
        let mut book = self.book();
        let open = core::mem::take(&mut book.open);
        if let Some(table) = open.uncovered() {
            tracing::error!(table, "a change without an entry of the log is not made");
            book.refused = Some(table.to_owned());
            return false;
        }
        for (table, rows) in open.all {
            *book.total.all.entry(table).or_default() += rows;
        }
        true
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_has_a_rule() {
        let schema: Vec<_> = super::super::schema::MIGRATIONS.iter().flat_map(|sql| sql.lines()).collect();
        let tables = schema.iter().filter_map(|line| line.strip_prefix("CREATE TABLE ")?.split(' ').next());
        let tables: Vec<_> = tables.collect();
        assert!(tables.len() > 15);
        for table in &tables {
            assert!(
                RULES.iter().any(|(name, _)| name == table),
                "say in store/coverage.rs and AUD-111 whether rows of `{table}` change without an entry"
            );
        }
        let spec = include_str!("../../../../docs/spec/audit.md");
        for (table, rule) in RULES.iter().filter(|(table, _)| !table.starts_with("sqlite_")) {
            assert!(tables.contains(table), "there is no table `{table}`");
            if let Rule::Free(why) | Rule::Stays(why) = rule {
                assert!(spec.contains(&format!("| `{table}` | {why} |")), "AUD-111 lacks `{table}`: {why}");
            }
        }
    }

    #[test]
    fn what_has_no_rule_needs_an_entry() {
        use SqliteOperation::{Delete, Insert, Update};
        let check = |changes: &[(&str, SqliteOperation)], uncovered: Option<&str>| {
            let mut rows = Rows::default();
            for (table, operation) in changes {
                rows.count(table, operation);
            }
            assert_eq!(rows.uncovered(), uncovered, "{changes:?}");
        };
        check(&[("heartbeats", Insert), ("witnesses", Update), (ENTRIES, Delete)], None);
        check(&[("something_new", Update)], Some("something_new"));
        check(&[("something_new", Update), (ENTRIES, Insert)], None);
        check(&[("witnesses", Insert)], Some("witnesses"));
        check(&[("witnesses", Delete), (ENTRIES, Delete)], Some("witnesses"));
    }
}
