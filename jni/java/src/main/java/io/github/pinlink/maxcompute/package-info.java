/**
 * What functions and MapReduce tasks of MaxCompute need beside a client: a scope that survives a re-run, a deadline
 * below the platform's, counters, and a sign of life in long waits.
 *
 * <p>Only this package knows the platform's SDK, which the platform provides; no other class of the jar needs it.
 * Begin at {@link io.github.pinlink.maxcompute.Job}.
 */
package io.github.pinlink.maxcompute;
