//! The ledger through crashes, duplicates, full disks and stores that do not answer.

use std::io::{Error, ErrorKind, Result as IoResult};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::FutureExt;
use proptest::prelude::*;

use super::pending::Pending;
use super::segment::{Medium, create_file};
use super::spool::Spool;
use super::{Ledger, LedgerError, Recovery};
use crate::directory::faulty::{Fault, FaultyStore};
use crate::directory::testing::{TempStore, audit};
use crate::directory::{DirectoryError, SharedStore};
use crate::domain::{
    Account, Amounts, Api, Binding, Hold, HoldId, Key, KeyHash, Money, Parties, Period, Progress, Record, RecordStatus,
    Scope, ScopeKind, Timestamp, Usage,
};
use crate::quota::counters::Books;

fn now() -> Timestamp {
    Timestamp::millis(1_800_000_000_000)
}

fn key_scope() -> Scope {
    Scope::key(&KeyHash::of("sk-a"))
}

fn account() -> Account {
    Account { scope: key_scope(), period: Period::total() }
}

fn record(id: u8, cost: i64) -> Record {
    Record {
        id: HoldId::new([id; 16]),
        sequence: 0,
        status: RecordStatus::Usage,
        admitted_at: now(),
        settled_at: now().plus_millis(5),
        parties: Parties {
            key: Some(KeyHash::of("sk-a")),
            user_id: Some("ü\u{0}\"user".into()),
            tags: vec!["t".into()],
            ..Parties::default()
        },
        model: "gpt-4o".into(),
        usage: Usage { input_tokens: 3, output_tokens: 4, ..Usage::default() },
        cost: Money::nanos(cost),
        price_version: "v".into(),
        estimated: false,
        accounts: vec![
            account(),
            Account {
                scope: Scope::new(ScopeKind::Team, &["a:b"]),
                period: Period { id: "1d@7".into(), start: now(), end: now().plus_millis(86_400_000) },
            },
        ],
    }
}

fn hold(id: u8, estimate: i64) -> Arc<Hold> {
    let record = record(id, 0);
    Arc::new(Hold {
        id: record.id,
        admitted_at: record.admitted_at,
        binding: Arc::new(Binding::new(Vec::new(), record.accounts, record.parties, record.model)),
        amounts: Amounts::new(),
        api: Api::OpenAiChat,
        priced_as: "gpt-4o".into(),
        price_version: record.price_version,
        input_tokens: 100,
        input_characters: 400,
        output_tokens: 200,
        estimate: Money::nanos(estimate),
        bounded: true,
    })
}

fn progress(output_tokens: u64, cost: i64) -> Progress {
    Progress { input_tokens: 100, output_tokens, cost: Money::nanos(cost) }
}

async fn open(store: &SharedStore, spool: &Path) -> (Arc<Ledger>, Recovery) {
    Ledger::open(Arc::clone(store), spool, now()).await.unwrap()
}

/// Ends the threads without writing anything more, as a crash does; what was told to the spool is in its file.
async fn crash(ledger: Arc<Ledger>) {
    let writer = ledger.writer.lock().take();
    if let Some(writer) = writer {
        writer.abort();
        let _ = writer.await;
    }
    ledger.shared.spool.end();
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    files
}

fn unavailable() -> DirectoryError {
    DirectoryError::Unavailable("down".to_owned())
}

#[tokio::test]
async fn what_is_booked_is_counted_at_once_and_written_once() {
    let temp = TempStore::sqlite().await;
    let (ledger, recovery) = open(&temp.store, &temp.folder.path().join("spool")).await;
    assert_eq!(recovery, Recovery::default());
    ledger.book(record(1, 100));
    ledger.book(record(2, 11));
    assert_eq!(ledger.spent(&account()).await.unwrap(), Money::nanos(111));
    assert!(ledger.knows(HoldId::new([1; 16])).await.unwrap());
    ledger.flush().await.unwrap();
    assert_eq!((ledger.pending(), ledger.lag()), (0, std::time::Duration::ZERO));
    assert_eq!(ledger.spent(&account()).await.unwrap(), Money::nanos(111));
    assert!(ledger.knows(HoldId::new([2; 16])).await.unwrap());
    assert!(!ledger.knows(HoldId::new([3; 16])).await.unwrap());
    ledger.book(record(1, 100));
    ledger.flush().await.unwrap();
    assert_eq!(ledger.spent(&account()).await.unwrap(), Money::nanos(111), "a duplicate changes nothing");
    assert_eq!(ledger.verify().await.unwrap().differences, []);
    ledger.shutdown().await.unwrap();
    assert_eq!(files(&temp.folder.path().join("spool")), Vec::<std::path::PathBuf>::new(), "nothing is left to keep");
}

#[tokio::test]
async fn an_adjustment_is_in_the_directory_when_it_is_answered() {
    let temp = TempStore::sqlite().await;
    let (ledger, _) = open(&temp.store, &temp.folder.path().join("spool")).await;
    ledger.adjust(Record { status: RecordStatus::Adjustment, ..record(1, -50) }).await.unwrap();
    assert_eq!(temp.store.spent(&account()).await.unwrap(), Money::nanos(-50));
    ledger.shutdown().await.unwrap();
}

#[tokio::test]
async fn who_stops_waiting_for_a_flush_hurries_nobody_any_more() {
    let temp = TempStore::sqlite().await;
    let faulty = FaultyStore::over(Arc::clone(&temp.store));
    faulty.set(Fault::Before(unavailable()));
    let (ledger, _) = open(&(Arc::clone(&faulty) as SharedStore), &temp.folder.path().join("spool")).await;
    ledger.book(record(1, 100));
    let hurrying = || ledger.shared.flushing.load(Ordering::SeqCst);
    {
        let mut flush = std::pin::pin!(ledger.flush());
        assert!(flush.as_mut().now_or_never().is_none());
        assert_eq!(hurrying(), 1);
    }
    assert_eq!(hurrying(), 0);
    faulty.set(Fault::None);
    ledger.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_start_after_a_crash_books_what_was_settled_and_what_was_in_flight() {
    let temp = TempStore::sqlite().await;
    let spool = temp.folder.path().join("spool");
    let faulty = FaultyStore::over(Arc::clone(&temp.store));
    faulty.set(Fault::Before(unavailable()));
    let (ledger, _) = open(&(Arc::clone(&faulty) as SharedStore), &spool).await;
    ledger.started(&hold(1, 999), progress(0, 10));
    ledger.started(&hold(2, 999), progress(0, 10));
    ledger.started(&hold(3, 999), Progress::default());
    ledger.progressed(&[(HoldId::new([1; 16]), progress(50, 60)), (HoldId::new([2; 16]), progress(7, 17))]);
    ledger.book(record(2, 25));
    ledger.book(record(4, 5));
    crash(ledger).await;
    let (ledger, recovery) = open(&temp.store, &spool).await;
    assert_eq!((recovery.replayed, recovery.written, recovery.unsettled), (2, 4, 2));
    assert_eq!((recovery.torn_bytes, recovery.corrupt.len()), (0, 0));
    assert_eq!(ledger.spent(&account()).await.unwrap(), Money::nanos(25 + 5 + 60 + 999));
    let records = temp.store.records(None, 0, 10).await.unwrap().rows;
    let of = |id: u8| records.iter().find(|record| record.id == HoldId::new([id; 16])).unwrap();
    assert_eq!((of(1).status, of(1).usage.output_tokens), (RecordStatus::Unsettled, 50));
    assert_eq!((of(3).status, of(3).cost), (RecordStatus::Unsettled, Money::nanos(999)), "nothing seen: the estimate");
    assert_eq!(of(2), &record(2, 25), "what was settled comes back whole");
    crash(ledger).await;
    let (ledger, recovery) = open(&temp.store, &spool).await;
    assert_eq!(recovery, Recovery::default(), "all of it is done once");
    ledger.shutdown().await.unwrap();
}

/// The bytes of a spool with ten records in it, and where each record ends.
async fn ten_records() -> (Vec<u8>, Vec<usize>) {
    let mut bytes = super::codec::MAGIC.to_vec();
    let ends = (1..=10).map(|id| {
        super::codec::write(
            &super::codec::Entry::Booked(u64::from(id), Arc::new(record(id, i64::from(id)))),
            &mut bytes,
        )
        .unwrap();
        bytes.len()
    });
    let ends = ends.collect();
    (bytes, ends)
}

fn lay(spool: &Path, bytes: &[u8]) {
    std::fs::create_dir_all(spool).unwrap();
    std::fs::write(spool.join(super::segment::name(1)), bytes).unwrap();
}

#[tokio::test]
async fn a_spool_cut_anywhere_gives_every_whole_record_exactly_once() {
    let (bytes, ends) = ten_records().await;
    let mut cuts: Vec<usize> = ends.iter().flat_map(|end| [end - 1, *end, end + 1, end + 9]).collect();
    cuts.extend([0, 1, 7, 8, 9, 16, 17]);
    for cut in cuts.into_iter().map(|cut| cut.min(bytes.len())) {
        let folder = tempfile::tempdir().unwrap();
        lay(folder.path(), &bytes[..cut]);
        let replayed = super::replay::read(folder.path()).unwrap();
        let whole = ends.iter().filter(|end| **end <= cut).count();
        let expected: Vec<_> = (1..=whole as u8).map(|id| record(id, i64::from(id))).collect();
        assert_eq!(replayed.records(now()), expected, "cut at {cut}");
        assert_eq!(replayed.put_away(&[]).unwrap(), Vec::<std::path::PathBuf>::new());
        assert_eq!(files(folder.path()), Vec::<std::path::PathBuf>::new());
    }
}

#[tokio::test]
async fn a_spool_damaged_in_the_middle_gives_the_rest_and_is_kept_aside() {
    let (bytes, ends) = ten_records().await;
    for damaged in [8, 11, 12, 60, ends[3] + 1, ends[3] + 100] {
        let temp = TempStore::sqlite().await;
        let spool = temp.folder.path().join("spool");
        let mut bytes = bytes.clone();
        bytes[damaged] ^= 0x41;
        lay(&spool, &bytes);
        let (ledger, recovery) = open(&temp.store, &spool).await;
        assert_eq!(recovery.written, 9, "byte {damaged}: {recovery:?}");
        let [aside] = &recovery.corrupt[..] else { panic!("{recovery:?}") };
        assert_eq!(std::fs::read(aside).unwrap(), bytes, "kept as it was");
        ledger.shutdown().await.unwrap();
        let (_, again) = open(&temp.store, &spool).await;
        assert_eq!(again, Recovery::default(), "and not read again");
    }
}

#[tokio::test]
async fn a_start_that_cannot_write_leaves_the_spool_as_it_is() {
    let (bytes, _) = ten_records().await;
    let temp = TempStore::sqlite().await;
    let spool = temp.folder.path().join("spool");
    lay(&spool, &bytes);
    let faulty = FaultyStore::over(Arc::clone(&temp.store));
    for fault in [Fault::Before(DirectoryError::Full("disk".to_owned())), Fault::After(unavailable())] {
        faulty.set(fault);
        let refused = Ledger::open(Arc::clone(&faulty) as SharedStore, &spool, now()).await;
        assert!(matches!(refused, Err(LedgerError::Directory(_))));
        assert_eq!(std::fs::read(&files(&spool)[0]).unwrap(), bytes);
    }
    let (ledger, recovery) = open(&temp.store, &spool).await;
    assert_eq!((recovery.replayed, recovery.written), (10, 0), "the second try had written them");
    assert_eq!(ledger.spent(&account()).await.unwrap(), Money::nanos(55));
    ledger.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_full_directory_stops_admissions_and_loses_nothing() {
    let temp = TempStore::sqlite().await;
    let faulty = FaultyStore::over(Arc::clone(&temp.store));
    let (ledger, _) = open(&(Arc::clone(&faulty) as SharedStore), &temp.folder.path().join("spool")).await;
    assert!(ledger.is_writable());
    faulty.set(Fault::Before(DirectoryError::Full("disk".to_owned())));
    ledger.book(record(1, 100));
    assert!(matches!(ledger.flush().await, Err(LedgerError::Directory(DirectoryError::Full(_)))));
    assert!(!ledger.is_writable());
    assert_eq!(ledger.pending(), 1);
    faulty.set(Fault::None);
    assert_eq!(ledger.spent(&account()).await.unwrap(), Money::nanos(100));
    ledger.flush().await.unwrap();
    assert!(ledger.is_writable());
    assert_eq!(temp.store.spent(&account()).await.unwrap(), Money::nanos(100));
    ledger.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_batch_that_was_written_though_its_answer_was_lost_counts_once() {
    let temp = TempStore::sqlite().await;
    let faulty = FaultyStore::over(Arc::clone(&temp.store));
    let (ledger, _) = open(&(Arc::clone(&faulty) as SharedStore), &temp.folder.path().join("spool")).await;
    faulty.set(Fault::After(unavailable()));
    ledger.book(record(1, 100));
    assert!(ledger.flush().await.is_err());
    assert!(ledger.is_writable(), "a store that does not answer now may answer soon");
    faulty.set(Fault::None);
    assert_eq!(ledger.spent(&account()).await.unwrap(), Money::nanos(100), "it waits for the batch to be sure");
    ledger.flush().await.unwrap();
    assert_eq!(ledger.spent(&account()).await.unwrap(), Money::nanos(100));
    assert_eq!(ledger.verify().await.unwrap().differences, []);
    ledger.shutdown().await.unwrap();
}

/// A disk that can be filled: it takes half of what is written, then fails, as a real one does.
struct Disk {
    inner: Box<dyn Medium>,
    full: Arc<AtomicBool>,
}

impl Medium for Disk {
    fn append(&mut self, bytes: &[u8]) -> IoResult<()> {
        if self.full.load(Ordering::SeqCst) {
            self.inner.append(&bytes[..bytes.len() / 2])?;
            return Err(Error::from(ErrorKind::StorageFull));
        }
        self.inner.append(bytes)
    }
    fn sync(&mut self) -> IoResult<()> {
        self.inner.sync()
    }
    fn cut(&mut self, length: u64) -> IoResult<()> {
        self.inner.cut(length)
    }
}

#[tokio::test]
async fn a_full_disk_under_the_spool_stops_admissions_and_leaves_no_half_entry() {
    let temp = TempStore::sqlite().await;
    let spool = temp.folder.path().join("spool");
    std::fs::create_dir_all(&spool).unwrap();
    let faulty = FaultyStore::over(Arc::clone(&temp.store));
    faulty.set(Fault::Before(unavailable()));
    let full = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&full);
    let disk = Spool::on(
        &spool,
        1,
        Box::new(move |path| Ok(Box::new(Disk { inner: create_file(path)?, full: Arc::clone(&switch) }) as _)),
    );
    let ledger = Ledger::over(Arc::clone(&faulty) as SharedStore, disk.unwrap(), Pending::default());
    ledger.book(record(1, 1));
    full.store(true, Ordering::SeqCst);
    ledger.book(record(2, 2));
    ledger.started(&hold(7, 999), progress(1, 10));
    ledger.started(&hold(8, 999), progress(1, 10));
    ledger.progressed(&[(HoldId::new([7; 16]), progress(2, 20))]);
    ledger.book(record(8, 8));
    until(|| !ledger.is_writable()).await;
    assert_eq!(ledger.pending(), 3);
    full.store(false, Ordering::SeqCst);
    ledger.book(record(3, 3));
    until(|| ledger.is_writable()).await;
    crash(ledger).await;
    let (ledger, recovery) = open(&temp.store, &spool).await;
    assert_eq!((recovery.replayed, recovery.unsettled), (4, 1));
    assert_eq!((recovery.written, recovery.torn_bytes, recovery.corrupt.len()), (5, 0, 0));
    assert_eq!(ledger.spent(&account()).await.unwrap(), Money::nanos(1 + 2 + 3 + 8 + 20));
    ledger.shutdown().await.unwrap();
}

async fn until(mut ready: impl FnMut() -> bool) {
    let waited = async {
        while !ready() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), waited).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_is_never_seen_with_a_record_in_neither_or_both() {
    let temp = TempStore::sqlite().await;
    let (ledger, _) = open(&temp.store, &temp.folder.path().join("spool")).await;
    let booking = {
        let ledger = Arc::clone(&ledger);
        tokio::spawn(async move {
            for id in 0..200u8 {
                ledger.book(record(id, 1));
                if id % 10 == 0 {
                    ledger.flush().await.unwrap();
                }
                tokio::task::yield_now().await;
            }
        })
    };
    let mut last = Money::ZERO;
    while last < Money::nanos(200) {
        let spent = ledger.spent(&account()).await.unwrap();
        assert!(spent >= last && spent <= Money::nanos(200), "{spent} after {last}");
        last = spent;
    }
    booking.await.unwrap();
    ledger.flush().await.unwrap();
    assert_eq!(temp.store.spent(&account()).await.unwrap(), Money::nanos(200));
    ledger.shutdown().await.unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_booked_the_books_add_up_to_the_nano_dollar(
        booked in prop::collection::vec((0u8..20, 0u32..2, -1_000_000_000i64..i64::MAX / 1_000, 0usize..4), 1..60),
        crash_after in 0usize..60,
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(async {
            let temp = TempStore::sqlite().await;
            let spool = temp.folder.path().join("spool");
            temp.store.create_key(&Key::new(KeyHash::of("sk-a"), now()), audit()).await.unwrap();
            let (mut ledger, _) = open(&temp.store, &spool).await;
            let mut expected = std::collections::HashMap::new();
            for (place, (id, sequence, cost, scopes)) in booked.iter().enumerate() {
                let accounts = [key_scope(), Scope::global(), Scope::new(ScopeKind::EndUser, &["e"])]
                    .into_iter()
                    .take(*scopes)
                    .map(|scope| Account { scope, period: Period::total() })
                    .collect::<Vec<_>>();
                let record = Record { sequence: *sequence, accounts, ..record(*id, *cost) };
                expected.entry((*id, *sequence)).or_insert(record.clone());
                ledger.book(record);
                if place == crash_after {
                    crash(ledger).await;
                    ledger = open(&temp.store, &spool).await.0;
                }
            }
            ledger.flush().await.unwrap();
            let verified = ledger.verify().await.unwrap();
            assert_eq!(verified.differences, []);
            assert_eq!((verified.records, verified.pending), (expected.len() as u64, 0));
            let of_key = expected.values().filter(|record| record.accounts.contains(&account()));
            let spent: Money = of_key.map(|record| record.cost).sum();
            assert_eq!(ledger.spent(&account()).await.unwrap(), spent);
            assert_eq!(temp.store.key(&KeyHash::of("sk-a")).await.unwrap().unwrap().spend, spent);
            ledger.shutdown().await.unwrap();
        });
    }
}

#[tokio::test]
async fn a_long_spool_is_followed_by_another_and_dropped_when_it_is_written() {
    let temp = TempStore::sqlite().await;
    let spool = temp.folder.path().join("spool");
    let (ledger, _) = open(&temp.store, &spool).await;
    ledger.started(&hold(250, 999), progress(1, 77));
    let long: Arc<str> = "m".repeat(1 << 20).into();
    for id in 0..10 {
        ledger.book(Record { model: Arc::clone(&long), ..record(id, 1) });
    }
    ledger.flush().await.unwrap();
    let second = spool.join(super::segment::name(2));
    until(|| files(&spool) == [second.clone()]).await;
    crash(ledger).await;
    let (ledger, recovery) = open(&temp.store, &spool).await;
    assert_eq!(recovery.unsettled, 1, "what is in flight was carried over");
    assert_eq!(ledger.spent(&account()).await.unwrap(), Money::nanos(10 + 77));
    ledger.shutdown().await.unwrap();
}

/// A record that PostgreSQL's index of the sums of days cannot hold.
fn unfit(id: u8, cost: i64) -> Record {
    let mut state = u64::from(id) + 1;
    let model: String = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'!' + (state >> 33) as u8 % 90)
    })
    .take(6_000)
    .collect();
    Record { model: model.into(), ..record(id, cost) }
}

#[tokio::test]
async fn a_record_that_the_directory_refuses_keeps_no_other_from_being_written_and_is_not_lost() {
    let temp = TempStore::postgres().await;
    let spool = temp.folder.path().join("spool");
    let refused = [4, 5, 20].map(|id| HoldId::new([id; 16]));
    let (ledger, _) = open(&temp.store, &spool).await;
    let told = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let hears = Arc::clone(&told);
    ledger.tell_written(Box::new(move |records, new| {
        hears.lock().extend(records.iter().map(|record| record.id).zip(new.iter().copied()));
    }));
    for id in 1..=20 {
        let record = if refused.contains(&HoldId::new([id; 16])) { unfit(id, 1_000) } else { record(id, 1) };
        ledger.book(record);
    }
    ledger.flush().await.unwrap();
    let told: std::collections::BTreeMap<_, _> = told.lock().iter().copied().collect();
    assert!(told.len() == 17 && told.values().all(|new| *new) && !refused.iter().any(|id| told.contains_key(id)));
    for restarts in 0..3 {
        assert_eq!(temp.store.spent(&account()).await.unwrap(), Money::nanos(17), "all others are written");
        let ledger = match restarts {
            0 => Arc::clone(&ledger),
            _ => {
                let (ledger, recovery) = open(&temp.store, &spool).await;
                assert_eq!((recovery.refused, recovery.written, &recovery.corrupt[..]), (3, 0, &[][..]));
                ledger
            }
        };
        assert_eq!(ledger.spent(&account()).await.unwrap(), Money::nanos(3_017), "it is spent all the same");
        assert!(ledger.knows(refused[1]).await.unwrap());
        assert_eq!((ledger.pending(), ledger.pending_on(&account()).len()), (3, 3));
        assert!(ledger.is_writable() && ledger.lag().is_zero());
        assert_eq!(ledger.verify().await.unwrap().differences, []);
        if restarts == 0 {
            crash(ledger).await;
        } else {
            ledger.shutdown().await.unwrap();
            assert_eq!(files(&spool), [spool.join("refused.log")]);
        }
    }
    // A directory that takes them gets them.
    let other = TempStore::sqlite().await;
    let (ledger, recovery) = open(&other.store, &spool).await;
    assert_eq!((recovery.replayed, recovery.written, recovery.refused), (3, 3, 0));
    assert_eq!((ledger.pending(), other.store.spent(&account()).await.unwrap()), (0, Money::nanos(3_000)));
    ledger.shutdown().await.unwrap();
    assert_eq!(files(&spool), Vec::<std::path::PathBuf>::new());
}

#[tokio::test]
async fn a_file_of_refused_records_that_is_damaged_is_read_as_far_as_it_goes_and_kept_aside() {
    let temp = TempStore::sqlite().await;
    let (bytes, ends) = ten_records().await;
    std::fs::write(temp.folder.path().join("refused.log"), &bytes[..ends[8] + 7]).unwrap();
    let (ledger, recovery) = open(&temp.store, temp.folder.path()).await;
    assert_eq!((recovery.written, recovery.refused), (9, 0));
    assert_eq!(recovery.corrupt, [temp.folder.path().join("refused.log.corrupt")]);
    ledger.shutdown().await.unwrap();
    assert!(!temp.folder.path().join("refused.log").exists());
}

#[tokio::test]
async fn what_has_left_the_ledger_is_not_booked_again_and_what_was_never_written_is_booked() {
    let temp = TempStore::sqlite().await;
    let spool = temp.folder.path().join("spool");
    let old = |id, cost| Record { admitted_at: now().plus_millis(-3 * 86_400_000), ..record(id, cost) };
    let faulty = FaultyStore::over(Arc::clone(&temp.store));
    let (ledger, _) = open(&(Arc::clone(&faulty) as SharedStore), &spool).await;
    ledger.started(&hold(9, 999), progress(1, 10_000));
    ledger.book(old(1, 1));
    ledger.book(record(2, 10));
    ledger.flush().await.unwrap();
    faulty.set(Fault::Before(unavailable()));
    ledger.book(old(3, 100));
    ledger.book(record(4, 1_000));
    crash(ledger).await;
    let today = now().as_millis().div_euclid(86_400_000);
    assert_eq!(temp.store.trim_ledger(today - 1).await.unwrap(), 1);
    let (ledger, recovery) = open(&temp.store, &spool).await;
    assert_eq!((recovery.replayed, recovery.written), (4, 3), "two that are new, and the one in flight");
    assert_eq!(ledger.spent(&account()).await.unwrap(), Money::nanos(11_111));
    assert_eq!(ledger.verify().await.unwrap().differences, []);
    ledger.shutdown().await.unwrap();
}
