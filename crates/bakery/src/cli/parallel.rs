//! Several things at once.

use std::convert::Infallible;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Does `work` for all items, `jobs` at once, and gives the results in the items' order. After an error no more is begun: the
/// results stop where nothing was done, and the error is among them.
pub(super) fn each<T: Sync, R: Send, E: Send>(
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

/// The same for work whose errors are results like others: all of it is done.
pub(super) fn all<T: Sync, R: Send>(jobs: usize, items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let results = each(jobs, items, |item| Ok::<_, Infallible>(work(item)));
    results.into_iter().flatten().map(|Ok(result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_keep_their_order_and_an_error_ends_it() {
        let items: Vec<u32> = (0..50).collect();
        let all = each(4, &items, |i| Ok::<_, ()>(i * 2));
        let all: Vec<u32> = all.into_iter().map(|r| r.unwrap().unwrap()).collect();
        assert_eq!(all, items.iter().map(|i| i * 2).collect::<Vec<_>>());
        let some = each(1, &items, |i| if *i == 3 { Err(*i) } else { Ok(()) });
        assert_eq!(some[3], Some(Err(3)));
        let odd = |i: &u32| if *i == 3 { Err(*i) } else { Ok(*i) };
        let errors = super::all(3, &items, odd);
        assert_eq!(errors, items.iter().map(odd).collect::<Vec<_>>());
        assert!(some[..3].iter().all(|r| *r == Some(Ok(()))) && some[4..].iter().all(Option::is_none));
    }
}
