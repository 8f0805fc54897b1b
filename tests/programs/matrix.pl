# perl of the matrix: modules with libraries of their own.
use strict;
use warnings;
use POSIX qw(floor strftime);
use List::Util qw(sum reduce);
use Encode qw(decode encode);
use Digest::SHA qw(sha256_hex);
use Socket;
use Storable qw(dclone);

print "floor ", floor(2.7), " ", strftime("%Y", gmtime(0)), "\n";
print "sum ", sum(1 .. 4), " ", (reduce { $a * $b } 1 .. 5), "\n";
print "encode ", length(encode("UTF-8", decode("iso-8859-15", "\xa4"))), "\n";
print "sha256 ", substr(sha256_hex("abc"), 0, 8), "\n";
print "clone ", dclone({ a => [ 1, 2 ] })->{a}[1], "\n";
print "localhost ", inet_ntoa(inet_aton("localhost")), "\n";
