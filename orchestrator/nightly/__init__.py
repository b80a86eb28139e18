"""What is new in trees and queues, each night: found, run, compared with the last time, and cleaned up after."""
