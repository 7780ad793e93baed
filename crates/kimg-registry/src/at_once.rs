//! Several things under way at once, and never more than so many.

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

use crate::RegistryError;

/// Does all of it, so many at once; gives what came of each, in their order. The first error ends the others where they
/// are.
pub(crate) async fn at_once<T, F: Future<Output = Result<T, RegistryError>>>(
    many: usize,
    all: impl IntoIterator<Item = F>,
) -> Result<Vec<T>, RegistryError> {
    let numbered =
        all.into_iter().enumerate().map(|(n, one)| async move { Ok::<_, RegistryError>((n, one.await?)) });
    // Made beforehand: a future that holds what makes the others can't go to another thread.
    let waiting: Vec<_> = numbered.collect();
    let mut done: Vec<(usize, T)> = stream::iter(waiting).buffer_unordered(many.max(1)).try_collect().await?;
    done.sort_by_key(|(n, _)| *n);
    Ok(done.into_iter().map(|(_, one)| one).collect())
}
