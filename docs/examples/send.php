<?php
// Sends events to pinrelay and waits until each is on its disk.
// As a program: php send.php /run/pinrelay/ingest.sock < events.ndjson

const PINRELAY_WINDOW = 100; // lines without an answer; more, and each side might wait for the other

/**
 * Gives one answer for each event, in order. Each event has its own messageId, made once and
 * stored with what it tells of: sent again, it is recognised by that. Throws after $patience
 * seconds without progress: keep the events then, and send them again. A web request should not
 * wait for long; a job may.
 */
function pinrelay_send(array $events, string $path = '/run/pinrelay/ingest.sock', float $patience = 2.0): array
{
    $flags = JSON_THROW_ON_ERROR | JSON_PRESERVE_ZERO_FRACTION;
    $lines = array_map(fn ($event) => json_encode($event, $flags) . "\n", array_values($events));
    $answers = $left = $lines;
    $since = microtime(true);
    while ($left) {
        $which = array_slice($left, 0, PINRELAY_WINDOW, true);
        [$got, $trouble] = pinrelay_exchange($path, $which, max(1, (int) ceil($patience)));
        $before = count($left);
        foreach ($got as $i => $answer) {
            if ($answer['status'] !== 'unavailable') {
                $answers[$i] = $answer;
                unset($left[$i]);
            }
        }
        if (count($left) < $before) {
            $since = microtime(true);
        } elseif (microtime(true) - $since > $patience) {
            throw new RuntimeException("$path: $trouble; $before events unanswered");
        } else {
            usleep(200_000);
        }
    }
    return $answers;
}

/** One connection: writes these lines, reads their answers as far as they come. */
function pinrelay_exchange(string $path, array $lines, int $seconds): array
{
    $connection = @stream_socket_client("unix://$path", $code, $error, $seconds);
    if ($connection === false) {
        return [[], $error];
    }
    stream_set_timeout($connection, $seconds);
    $got = [];
    try {
        for ($rest = implode('', $lines); $rest !== ''; $rest = substr($rest, $written)) {
            $written = @fwrite($connection, $rest);
            if (!$written) {
                return [$got, 'the connection ended'];
            }
        }
        foreach (array_keys($lines) as $i) {
            $line = fgets($connection);
            if ($line === false || !str_ends_with($line, "\n")) { // cut off: no answer
                return [$got, 'the connection ended, or no answer came in time'];
            }
            $got[$i] = json_decode($line, true, 512, JSON_THROW_ON_ERROR);
        }
        return [$got, 'it has no room'];
    } finally {
        fclose($connection);
    }
}

if (PHP_SAPI === 'cli' && realpath($argv[0]) === __FILE__) {
    $window = [];
    do {
        $line = fgets(STDIN);
        if ($line !== false) {
            $window[] = json_decode($line, false, 512, JSON_THROW_ON_ERROR);
        }
        if ($line === false || count($window) === PINRELAY_WINDOW) {
            foreach (pinrelay_send($window, $argv[1] ?? '/run/pinrelay/ingest.sock', 30) as $answer) {
                echo json_encode($answer), "\n";
            }
            $window = [];
        }
    } while ($line !== false);
}
