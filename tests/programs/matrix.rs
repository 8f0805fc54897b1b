//! The Rust program of the matrix: threads, a panic that is caught, thread-local storage, and names that libc looks up.

use std::cell::Cell;
use std::net::ToSocketAddrs;
use std::sync::mpsc;
use std::thread;

thread_local!(static OWN: Cell<u64> = const { Cell::new(1) });

fn main() {
    let (send, receive) = mpsc::channel();
    let threads: Vec<_> = (1..=8u64)
        .map(|n| {
            let send = send.clone();
            thread::spawn(move || {
                OWN.with(|own| own.set(own.get() * n));
                send.send(OWN.with(Cell::get)).unwrap();
            })
        })
        .collect();
    drop(send);
    println!("threads {} {}", receive.iter().sum::<u64>(), OWN.with(Cell::get));
    threads.into_iter().for_each(|t| t.join().unwrap());
    std::panic::set_hook(Box::new(|_| ()));
    println!("caught {}", std::panic::catch_unwind(|| panic!("thrown")).is_err());
    println!("localhost {}", ("localhost", 80).to_socket_addrs().unwrap().next().unwrap().ip());
}
