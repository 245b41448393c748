/**
 * Connections for code that runs inside MaxCompute jobs: resolved once, pinned, pooled, bounded.
 *
 * <p>Begin at {@link io.github.pinlink.Client#builder()}.
 */
package io.github.pinlink;
