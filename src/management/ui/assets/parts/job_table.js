// Jobs on messages: how far they are, how they ended.

import { h } from '../core/view.js';
import { path, remove } from '../core/api.js';
import { link } from '../core/router.js';
import { count, date, duration, plural, value } from '../core/format.js';
import { button, meter, state, tag } from './bits.js';
import { figure, table } from './table.js';
import { attempt } from './toast.js';

const KINDS = { running: 'warn', finished: 'good', cancelled: '', failed: 'bad' };

const destinationText = ({ destination }) => (destination === null || destination === undefined ? '–' : typeof destination === 'string' ? destination : value(destination));

export function jobTable(jobs, { isOfQueue = false, changed }) {
    const cancel = (job) => attempt(`Cancel job ${job.id}`, () => remove(path('jobs', job.id)), `Job ${job.id} is cancelled`).then(changed);
    const columns = [
        { label: 'Job', isHead: true, class: 'nowrap', cell: (job) => [job.id, ' ', job.dry_run && tag('dry run')] },
        !isOfQueue && { label: 'Queue', class: 'clip', cell: (job) => h('a', { href: link(['queues', job.vhost, job.queue], { tab: 'messages' }) }, job.queue) },
        { label: 'What', cell: (job) => job.action },
        { label: 'To', rank: 'less', class: 'clip', cell: destinationText },
        { label: 'State', cell: (job) => [state(job.state, KINDS[job.state]), job.reason && h('div', { class: 'hint' }, job.reason)] },
        { label: 'Looked at', cell: (job) => [`${count(job.looked_at)} of ${count(job.total)}`, job.state === 'running' && meter(job.looked_at, job.total)] },
        { label: 'Matched', number: true, cell: (job) => figure(job.matched, count) },
        { label: 'Done', number: true, cell: (job) => (job.dry_run ? '–' : figure(job.done, count)) },
        { label: 'Stayed', number: true, rank: 'less', cell: (job) => figure(job.failed, count) },
        { label: 'By', rank: 'least', cell: (job) => job.user },
        { label: 'Begun', rank: 'less', class: 'nowrap', cell: (job) => [date(job.started_ms), job.ended_ms && h('div', { class: 'hint' }, `took ${duration(job.ended_ms - job.started_ms)}`)] },
        { label: 'Action', cell: (job) => job.state === 'running' && button('Cancel', () => cancel(job), { kind: 'small danger', 'aria-label': `Cancel job ${job.id}` }) },
    ];
    return table({ caption: `${plural(jobs.length, 'job')} on messages`, rows: jobs, keyOf: (job) => job.id, columns: columns.filter(Boolean), empty: 'No jobs yet: they begin on the Messages tab of a queue' });
}
