//! Several pieces of work at once, on a bounded number of threads.

use std::convert::Infallible;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Does `work` for all items, `jobs` at once, and gives the results in the items' order.
///
/// # Errors
/// The first error in time. After it no more work is begun; what was being done then is finished, and its result dropped.
pub fn try_map<T: Sync, R: Send, E: Send>(
    jobs: usize,
    items: &[T],
    work: impl Fn(&T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let first = Mutex::new(None);
    let results = until_error(jobs, items, |item| {
        work(item).map_err(|error| {
            first.lock().unwrap_or_else(|e| e.into_inner()).get_or_insert(error);
        })
    });
    match first.into_inner().unwrap_or_else(|e| e.into_inner()) {
        Some(error) => Err(error),
        // Without an error nothing was left out.
        None => Ok(results.into_iter().flatten().flatten().collect()),
    }
}

/// As [`try_map`], for work whose errors are results like others: all of it is done.
pub fn map<T: Sync, R: Send>(jobs: usize, items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let results = until_error(jobs, items, |item| Ok::<_, Infallible>(work(item)));
    results.into_iter().flatten().map(|Ok(result)| result).collect()
}

/// As [`try_map`], but gives what was done before and beside the error, too: the results stop where nothing was done, and the
/// errors are among them.
pub fn until_error<T: Sync, R: Send, E: Send>(
    jobs: usize,
    items: &[T],
    work: impl Fn(&T) -> Result<R, E> + Sync,
) -> Vec<Option<Result<R, E>>> {
    let results: Mutex<Vec<Option<Result<R, E>>>> = Mutex::new(items.iter().map(|_| None).collect());
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let worker = || {
        while !failed.load(Ordering::Relaxed) {
            let i = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(i) else { return };
            let result = work(item);
            failed.fetch_or(result.is_err(), Ordering::Relaxed);
            results.lock().unwrap_or_else(|e| e.into_inner())[i] = Some(result);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..jobs.min(items.len()) {
            scope.spawn(worker);
        }
        worker();
    });
    results.into_inner().unwrap_or_else(|e| e.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_keep_their_order_and_an_error_ends_it() {
        let items: Vec<u32> = (0..50).collect();
        let doubled: Vec<u32> = items.iter().map(|i| i * 2).collect();
        assert_eq!(try_map(4, &items, |i| Ok::<_, ()>(i * 2)), Ok(doubled));
        let fails = |i: &u32| if *i >= 3 { Err(*i) } else { Ok(()) };
        assert_eq!(try_map(1, &items, fails), Err(3));
        let some = until_error(1, &items, fails);
        assert_eq!(some[3], Some(Err(3)));
        assert!(some[..3].iter().all(|r| *r == Some(Ok(()))) && some[4..].iter().all(Option::is_none));
        let odd = |i: &u32| if *i == 3 { Err(*i) } else { Ok(*i) };
        assert_eq!(map(3, &items, odd), items.iter().map(odd).collect::<Vec<_>>());
    }

    #[test]
    fn the_first_error_in_time_wins() {
        let failed = AtomicBool::new(false);
        let error = try_map(2, &[0, 1], |i| {
            if *i == 1 {
                failed.store(true, Ordering::Release);
                return Err::<(), _>("cause");
            }
            while !failed.load(Ordering::Acquire) {
                std::thread::yield_now();
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
            Err("stopped")
        });
        assert_eq!(error, Err("cause"));
    }
}
