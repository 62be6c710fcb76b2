//! When the folder of the rules is to be looked at: as soon as the kernel tells of a change in it or
//! beside it, and else every other second, which works over every file system and every mount.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use futures_core::Stream;
use inotify::{EventStream, Inotify, WatchDescriptor, WatchMask, Watches};

use super::folder::{self, FolderContent, FolderError};

/// How often the folder is looked at where nobody tells of a change: a network file system, a file behind
/// a link, a folder mounted over another.
const POLL: Duration = Duration::from_secs(2);
/// Bytes of happenings read at once.
const BUFFER_BYTES: usize = 4096;
/// Happenings that count as one at most.
const HAPPENINGS_MAX: usize = 1000;

/// Happenings in and beside a folder.
pub(super) struct FolderChanges {
    happenings: Option<EventStream<Vec<u8>>>,
}

/// The folder as it can be looked at, from a thread that may wait.
pub(super) struct FolderView {
    folder: PathBuf,
    watches: Option<Watches>,
    watched: [Option<WatchDescriptor>; 2],
}

/// What a look at the folder found.
pub(super) struct Look {
    /// What is in it.
    pub(super) read: Result<FolderContent, FolderError>,
    /// [`folder::mark`] of it.
    pub(super) mark: u64,
}

/// Nothing here is about reading: looking at the folder causes no happening.
fn inside() -> WatchMask {
    WatchMask::CLOSE_WRITE
        | WatchMask::CREATE
        | WatchMask::DELETE
        | WatchMask::MOVE
        | WatchMask::ATTRIB
        | WatchMask::DELETE_SELF
        | WatchMask::MOVE_SELF
}

/// The folder's own name comes, goes or leads elsewhere.
fn beside() -> WatchMask {
    WatchMask::CREATE | WatchMask::DELETE | WatchMask::MOVE
}

/// Watches `folder`; without inotify it is looked at from time to time all the same.
pub(super) fn watch(folder: &Path) -> (FolderChanges, FolderView) {
    let inotify = Inotify::init().inspect_err(|error| {
        tracing::info!(%error, "changes of the rules folder are not told by the kernel: it is looked at every 2 s");
    });
    let inotify = inotify.ok();
    let view = FolderView {
        folder: folder.to_path_buf(),
        watches: inotify.as_ref().map(Inotify::watches),
        watched: [None, None],
    };
    let buffer = vec![0; BUFFER_BYTES];
    let happenings = inotify.and_then(|inotify| inotify.into_event_stream(buffer).ok());
    (FolderChanges { happenings }, view)
}

impl FolderChanges {
    /// Until something happened or the time has come; what happened until now counts as one.
    pub(super) async fn next(&mut self) {
        tokio::select! {
            () = self.happened() => {}
            () = tokio::time::sleep(POLL) => {}
        }
    }

    async fn happened(&mut self) {
        let Some(happenings) = &mut self.happenings else {
            return std::future::pending().await;
        };
        let mut count = 0;
        let any = std::future::poll_fn(|cx| {
            loop {
                match Pin::new(&mut *happenings).poll_next(cx) {
                    Poll::Ready(Some(Ok(_))) if count < HAPPENINGS_MAX => count += 1,
                    Poll::Ready(Some(Ok(_))) => return Poll::Ready(true),
                    Poll::Ready(_) => return Poll::Ready(false),
                    Poll::Pending if count > 0 => return Poll::Ready(true),
                    Poll::Pending => return Poll::Pending,
                }
            }
        });
        if !any.await {
            self.happenings = None;
            std::future::pending().await
        }
    }
}

impl FolderView {
    /// Looks at the folder, and watches the one that its path leads to now.
    pub(super) fn look(&mut self) -> Look {
        self.watch_again();
        Look::at(&self.folder)
    }

    fn watch_again(&mut self) {
        let Some(watches) = &mut self.watches else {
            return;
        };
        let parent = match self.folder.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let paths = [(&*self.folder, inside()), (parent, beside())];
        for ((path, mask), watched) in paths.into_iter().zip(&mut self.watched) {
            // The same folder has the same descriptor: to watch it once more changes nothing.
            let now = watches.add(path, mask).ok();
            if let Some(before) = watched.take().filter(|before| now.as_ref() != Some(before)) {
                let _ = watches.remove(before);
            }
            *watched = now;
        }
    }
}

impl Look {
    /// Looks at `folder`.
    pub(super) fn at(folder: &Path) -> Look {
        let read = folder::read(folder);
        let mark = folder::mark(&read);
        Look { read, mark }
    }
}
