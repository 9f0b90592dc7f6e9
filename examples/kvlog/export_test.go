package kvlog

// Filled is how many records wait for the batch that is on its way.
func (s *Store) Filled() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.filled.records)
}
