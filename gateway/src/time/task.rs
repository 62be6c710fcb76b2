//! Tasks and threads: each has a name, and one that panics ends the process with it, in order and for the supervisor to
//! start again. Nothing of a gateway is dead while its status says that all is fine.
//!
//! A panic whose work is redone or refused with its reason, such as that of a compiler, is [`contained`] and ends nothing.

mod null_control;

use std::cell::RefCell;
use std::future::Future;
use std::panic::PanicHookInfo;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::thread::JoinHandle as ThreadHandle;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinHandle;

thread_local! {
    /// What this thread works at.
    static NAME: RefCell<Option<Arc<str>>> = const { RefCell::new(None) };
    /// Whether a panic of this thread is dealt with by whoever waits for it.
    static IS_CONTAINED: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// The first panic.
static PANICKED: OnceLock<(String, String)> = OnceLock::new();
static TOLD: Notify = Notify::const_new();
/// The exit code of whatever failed.
const FAILED: i32 = 1;

/// A future that has a name while it runs.
pub struct Named<F> {
    name: Arc<str>,
    future: Pin<Box<F>>,
}

/// Gives `future` a name, for whatever spawns it.
pub fn named<F: Future>(name: impl Into<Arc<str>>, future: F) -> Named<F> {
    Named {
        name: name.into(),
        future: Box::pin(future),
    }
}

impl<F: Future> Future for Named<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        let _named = Within::enter(&this.name);
        null_control::panic_in(&this.name);
        this.future.as_mut().poll(context)
    }
}

/// A thread that has a name until this goes.
struct Within(Option<Arc<str>>);

impl Within {
    fn enter(name: &Arc<str>) -> Within {
        Within(NAME.replace(Some(Arc::clone(name))))
    }
}

impl Drop for Within {
    fn drop(&mut self) {
        // A name outlives its panic: the hook has run by then.
        NAME.set(self.0.take());
    }
}

/// Spawns a task.
pub fn spawn<F>(name: impl Into<Arc<str>>, future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    tokio::spawn(named(name, future))
}

/// Does `work` on a thread that may wait for the disk.
pub fn blocking<T: Send + 'static>(
    name: impl Into<Arc<str>>,
    work: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    let name = name.into();
    tokio::task::spawn_blocking(move || {
        let _named = Within::enter(&name);
        null_control::panic_in(&name);
        work()
    })
}

/// Starts a thread.
///
/// # Errors
/// When the system has none.
pub fn thread<T: Send + 'static>(
    name: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> std::io::Result<ThreadHandle<T>> {
    let thread = std::thread::Builder::new().name(name.to_owned());
    thread.spawn(move || {
        let _named = Within::enter(&name.into());
        work()
    })
}

/// Something goes on in this thread; where tests ask for it, it panics.
pub fn goes_on() {
    let name = NAME.with_borrow(Option::clone);
    if let Some(name) = name {
        null_control::panic_in(&name);
    }
}

/// Work whose panic whoever waits for it deals with.
pub fn contained<T>(work: impl FnOnce() -> T) -> impl FnOnce() -> T {
    move || {
        let _contained = Containing(IS_CONTAINED.replace(true));
        work()
    }
}

struct Containing(bool);

impl Drop for Containing {
    fn drop(&mut self) {
        IS_CONTAINED.set(self.0);
    }
}

/// Has panics noted from now on. For a whole program, before anything else looks at them.
pub fn note_panics() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        before(panic);
        if !IS_CONTAINED.get() {
            note(panic);
        }
    }));
}

fn note(panic: &PanicHookInfo<'_>) {
    let name = NAME.with_borrow(|name| name.as_deref().map(str::to_owned));
    let thread = std::thread::current();
    let name = name.or_else(|| thread.name().map(str::to_owned));
    let payload = panic.payload();
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
    let at = panic.location();
    let at = at.map_or_else(String::new, |at| format!(" at {}:{}", at.file(), at.line()));
    let what = format!("it panicked{at}: {}", text.unwrap_or("no message"));
    let noted = PANICKED.set((name.unwrap_or_else(|| "a thread".to_owned()), what));
    if noted.is_ok() {
        TOLD.notify_one();
    }
}

/// Until something panicked: its name, and what it said.
pub async fn panicked() -> (String, String) {
    loop {
        if let Some(found) = PANICKED.get() {
            return found.clone();
        }
        TOLD.notified().await;
    }
}

/// What panicked, if anything did.
pub fn has_panicked() -> Option<(String, String)> {
    PANICKED.get().cloned()
}

/// From now on an end in order has so long; then the process ends as it is. What is on the disk by then is all that was
/// acknowledged.
pub fn end_within(most: Duration) {
    let last = std::thread::Builder::new().name("last resort".to_owned());
    let _ = last.spawn(move || {
        std::thread::sleep(most);
        let (name, what) = has_panicked().unwrap_or_default();
        eprintln!("tidegate: {name} ended by itself: {what}; the rest did not end in time and is left as it is");
        std::process::exit(FAILED);
    });
}
